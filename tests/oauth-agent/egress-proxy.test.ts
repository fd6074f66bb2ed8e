import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from '@jest/globals'

const module = fileURLToPath(new URL('../../oauth-agent/src/bounded-fetch.ts', import.meta.url))
const program = `
  const { boundedFetch } = await import(${JSON.stringify(module)})
  const init = { method: 'POST', body: 'a=b', mayLeave: () => true }
  process.stdout.write((await boundedFetch('http://login.example/token', init)).text)
  process.exit()
`

it('calls of the agent go through the proxy that NODE_USE_ENV_PROXY and HTTP_PROXY name, as those of fetch do', async () => {
  const asked: string[] = []
  const proxy = createServer((req, res) => {
    asked.push(req.url ?? '')
    res.end('through the proxy')
  })
  proxy.on('connect', (req, socket) => {
    asked.push(req.url ?? '')
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    socket.once('data', () =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\nthrough the proxy'),
    )
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const { port } = proxy.address() as AddressInfo
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=token-handler-source', '--input-type=module', '--eval', program],
      { env: { ...process.env, NODE_USE_ENV_PROXY: '1', HTTP_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: '' } },
    )
    expect(stdout).toBe('through the proxy')
    expect(asked.join()).toContain('login.example')
  } finally {
    proxy.close()
    proxy.closeAllConnections()
  }
}, 30_000)
