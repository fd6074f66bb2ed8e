import { stringify } from 'yaml'
import { startExampleApi, type ExampleApi } from '../../spa-example/api/server.ts'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { workingFolder, type Ended, type WorkingFolder } from '../cli/command-line.ts'
import { configured } from '../shared/configuration.ts'
import { CookieJar } from '../support/cookie-jar.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { until } from '../support/until.ts'
import { callWith, type Answer } from './call.ts'
import { startRelay, type Relay } from './relay.ts'

/** What browsers see; the processes behind it listen on ports of their own, which cookies do not care about. */
export const publicUrl = 'http://localhost:3000'

/** The `token-handler` command as an operator runs it, with an authorization server and an API. */
export interface Installation {
  readonly folder: WorkingFolder
  readonly authorizationServer: AuthorizationServer
  readonly api: ExampleApi
  /** In front of the authorization server: its issuer. */
  readonly relay: Relay
  /** Writes a configuration file. */
  configure(name: string, changes?: Readonly<Record<string, unknown>>): void
  start(args?: readonly string[]): Promise<RunningCommand>
  close(): Promise<void>
}

export interface RunningCommand {
  /** Origins of the listeners. */
  readonly url: string
  readonly adminUrl: string | undefined
  readonly ended: Promise<Ended>
  readonly pid: number
  /** Everything that was logged so far. */
  log(): string
  kill(signal: 'SIGTERM' | 'SIGKILL' | 'SIGHUP'): void
}

/** @param upstream Origin of another API, under `/api/other`. */
export async function install({ upstream }: { upstream?: string } = {}): Promise<Installation> {
  const relay = await startRelay()
  const audience = 'https://api.example.com'
  const authorizationServer = await startAuthorizationServer({
    issuer: relay.origin,
    clients: { redirectUris: [`${publicUrl}/callback`] },
    apiAudience: audience,
  })
  const { port } = authorizationServer.server.address() as { port: number }
  relay.target = port
  const api = await startExampleApi({ issuer: relay.origin, audience })
  const folder = workingFolder()
  const { clientId, clientSecret } = authorizationServer.clients.secret

  function configure(name: string, changes: Readonly<Record<string, unknown>> = {}): void {
    const ours = configured({
      public_url: publicUrl,
      listen: { port: 0 },
      authorization_server: {
        issuer: relay.origin,
        client_id: clientId,
        client_authentication: { client_secret: 'file:secret.txt' },
        redirect_uri: `${publicUrl}/callback`,
        scope: 'openid orders:read orders:write',
      },
      proxy: {
        routes: [
          { path: '/api/orders', upstream: api.url },
          { path: '/api/me', upstream: api.url },
          ...(upstream === undefined ? [] : [{ path: '/api/other', upstream }]),
        ],
      },
    })
    folder.write(name, stringify({ ...(ours as object), ...changes }))
  }

  folder.write('secret.txt', clientSecret)
  await succeed(folder.run(['keys', 'generate', '--out', 'keys.json']))
  return {
    folder,
    authorizationServer,
    api,
    relay,
    configure,
    async start(args = []) {
      const { process, ended } = folder.start(['start', ...args])
      let log = ''
      process.stdout?.on('data', (chunk: string) => (log += chunk))
      void ended.then(({ stderr }) => (log += stderr))
      const isOver = (): boolean => log.includes('"event":"started"') || process.exitCode !== null
      // Several processes that start at once on a busy machine take their time.
      await until('the start', isOver, { timeoutMs: 60_000 })
      const line = log.split('\n').find((text) => text.includes('"event":"started"'))
      if (line === undefined) throw new Error(`the command ended: ${log}`)
      const { address, adminAddress } = JSON.parse(line) as { address: string; adminAddress?: string }
      return {
        url: `http://${address.replace('127.0.0.1', 'localhost')}`,
        adminUrl: adminAddress === undefined ? undefined : `http://${adminAddress}`,
        ended,
        pid: process.pid ?? 0,
        log: () => log,
        kill: (signal) => void process.kill(signal),
      }
    },
    async close() {
      await folder.remove()
      await api.close()
      await authorizationServer.close()
      await relay.close()
    },
  }
}

/** @throws Error with what the command said when it did not end well. */
export async function succeed(ended: Promise<Ended>): Promise<Ended> {
  const { code, stdout, stderr } = await ended
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`)
  return { code, stdout, stderr }
}

/** Logs in at an agent, wherever it listens. @returns the browser's cookies */
export async function logInAt(agentUrl: string): Promise<CookieJar> {
  const jar = new CookieJar()
  const answer = await new SessionBrowser(publicUrl, { backend: agentUrl, jar }).logIn()
  if (answer.status !== 200) throw new Error(`login: ${answer.status} ${answer.text}`)
  return jar
}

/** A call of the SPA, wherever the service listens. Cookies that the answer sets are kept. */
export async function callAt(url: string, path: string, jar: CookieJar, method = 'GET'): Promise<Answer> {
  const answer = await callWith(jar.header(publicUrl + path), url + path, { method, origin: publicUrl })
  jar.store(publicUrl + path, answer.setCookies)
  return answer
}
