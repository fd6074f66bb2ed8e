import { existsSync } from 'node:fs'
import type { Contender, Surroundings } from './contender.ts'
import { findProgram } from '../programs.ts'
import { startProgram } from './native-program.ts'
import { clientId, clientSecret, logIn, plainOrigin, startAuthorizationServer } from './login.ts'

const moduleFolders = ['/usr/lib/apache2/modules', '/usr/lib64/httpd/modules']
/** It keeps nothing of a session between requests, so a few do as well as many. */
const sessions = 50

/** Apache with mod_auth_openidc, the session in an encrypted cookie at the client, as in the OAuth Proxy. */
export async function startModAuthOpenidc({ upstreamPort }: Surroundings): Promise<Contender | undefined> {
  const program = findProgram('apache2') ?? findProgram('httpd')
  const modules = moduleFolders.find((folder) => existsSync(`${folder}/mod_auth_openidc.so`))
  if (program === undefined || modules === undefined) return undefined
  const authorizationServer = await startAuthorizationServer()
  try {
    const apache = await startProgram(
      program,
      (configFile) => ['-f', configFile, '-DFOREGROUND'],
      (port, folder) => `
        ServerRoot ${folder}
        ServerName www.example.com
        Listen 127.0.0.1:${port}
        PidFile ${folder}/apache.pid
        Mutex file:${folder} default
        ErrorLog ${folder}/error.log
        LogLevel error
        ${['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'headers', 'proxy', 'proxy_http', 'auth_openidc']
          .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
          .join('\n')}
        ${process.getuid?.() === 0 ? 'User nobody\nGroup nogroup' : ''}
        StartServers 1
        MinSpareThreads 1
        MaxSpareThreads 64
        ServerLimit 1
        ThreadsPerChild 64
        MaxRequestWorkers 64
        KeepAlive On
        MaxKeepAliveRequests 0
        KeepAliveTimeout 60
        OIDCProviderMetadataURL ${authorizationServer.issuer}/.well-known/openid-configuration
        OIDCClientID ${clientId}
        OIDCClientSecret ${clientSecret}
        OIDCRedirectURI ${plainOrigin}/api/callback
        OIDCCryptoPassphrase ${crypto.randomUUID()}
        OIDCSessionType client-cookie
        OIDCSessionInactivityTimeout 43200
        OIDCPassClaimsAs environment
        OIDCStripCookies mod_auth_openidc_session
        <Location /api>
          AuthType openid-connect
          Require valid-user
          RequestHeader set Authorization "Bearer %{OIDC_access_token}e"
        </Location>
        ProxyPass /api http://127.0.0.1:${upstreamPort}/api keepalive=On
      `,
    )
    const cookies = await logInAll(apache)
    return { ...apache, cookies, token: authorizationServer.accessToken }
  } finally {
    authorizationServer.close()
  }
}

async function logInAll(apache: Contender): Promise<string[]> {
  try {
    return await Promise.all(Array.from({ length: sessions }, () => logIn(apache.port)))
  } catch (error) {
    await apache.stop()
    throw error
  }
}
