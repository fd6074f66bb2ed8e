import type { Contender, Surroundings } from './contender.ts'
import { findProgram } from '../programs.ts'
import { startProgram } from './native-program.ts'

/** nginx as a plain proxy with one worker: the floor of a native proxy, without any authentication. */
export function startNginx({ upstreamPort }: Surroundings): Promise<Contender | undefined> {
  return startNginxWith({
    upstreamPort,
    server: `
      location /api/ {
        proxy_pass http://api;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
      }
    `,
  })
}

/** nginx with one worker in front of the API; `http` and `server` are lines for these blocks. */
export async function startNginxWith({
  upstreamPort,
  http = '',
  server,
}: {
  readonly upstreamPort: number
  readonly http?: string
  readonly server: string
}): Promise<Contender | undefined> {
  const program = findProgram('nginx')
  if (program === undefined) return undefined
  return startProgram(
    program,
    (configFile, folder) => ['-c', configFile, '-p', folder, '-e', 'stderr'],
    (port, folder) => `
      daemon off;
      ${process.getuid?.() === 0 ? 'user nobody nogroup;' : ''}
      worker_processes 1;
      pid ${folder}/nginx.pid;
      error_log stderr warn;
      events { worker_connections 4096; }
      http {
        access_log off;
        client_body_temp_path ${folder}/body;
        proxy_temp_path ${folder}/proxy;
        fastcgi_temp_path ${folder}/fastcgi;
        uwsgi_temp_path ${folder}/uwsgi;
        scgi_temp_path ${folder}/scgi;
        large_client_header_buffers 4 16k;
        keepalive_requests 1000000;
        upstream api { server 127.0.0.1:${upstreamPort}; keepalive 256; keepalive_requests 1000000; }
        ${http}
        server {
          listen 127.0.0.1:${port};
          ${server}
        }
      }
    `,
  )
}
