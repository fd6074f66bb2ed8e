import { connect } from 'node:net'
import { request } from 'undici'
import { CookieJar } from '../support/cookie-jar.ts'
import { freePort } from '../support/free-port.ts'
import { ScriptedAuthorizationServer } from '../support/scripted-authorization-server.ts'
import { until } from '../support/until.ts'
import type { Ended, WorkingFolder } from './command-line.ts'

export interface PoolAnswer {
  readonly status: number
  /** `error_code`, where there is one. */
  readonly code: string | undefined
  readonly body: Readonly<Record<string, unknown>>
}

type LogLine = Readonly<Record<string, unknown>>

/** `token-handler start --workers` with an authorization server; every call takes a connection of its own. */
export interface RunningPool {
  /** Processes of the workers that serve. */
  pids(): number[]
  /** Log lines of an event. */
  events(event: string): LogLine[]
  /** One for each request so far. */
  workersThatAnswered(): unknown[]
  ready(): Promise<PoolAnswer>
  /** What Prometheus gets on the admin port. */
  metrics(): Promise<string>
  /** A call to the admin API. */
  admin(path: string, body?: object): Promise<Record<string, unknown>>
  /** What somebody sees who has signed in. */
  operationsPage(): Promise<string>
  request(): Promise<PoolAnswer>
  call(method: 'GET' | 'POST', path: string, jar: CookieJar, body?: URLSearchParams): Promise<PoolAnswer>
  logIn(): Promise<CookieJar>
  refresh(jar: CookieJar): Promise<PoolAnswer>
  copyOf(jar: CookieJar): CookieJar
  /** The authorization server answers no refresh until {@link RunningPool.releaseRefreshes}. */
  holdRefreshes(): void
  heldRefreshes(): number
  releaseRefreshes(): void
  /** Whether nobody listens any more. */
  isRefusing(): Promise<boolean>
  signal(signal: NodeJS.Signals): void
  stop(signal: NodeJS.Signals): Promise<Ended>
  close(): Promise<void>
}

/** @param changes Sections of the configuration besides the usual ones. */
export async function startPool(
  folder: WorkingFolder,
  workers: number,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<RunningPool> {
  const server = await ScriptedAuthorizationServer.start()
  const adminKey = 'of-alice-'.repeat(5)
  const [port, adminPort] = [await freePort(), await freePort()]
  const origin = `http://localhost:${port}`
  folder.write('secret.txt', server.clientSecret)
  await folder.run(['keys', 'generate', '--out', 'keys.json'])
  folder.configure({
    public_url: origin,
    listen: { port },
    admin: { port: adminPort, keys: { alice: adminKey } },
    authorization_server: {
      issuer: server.issuer,
      client_id: server.clientId,
      client_authentication: { client_secret: 'file:secret.txt' },
      redirect_uri: `${origin}/callback`,
    },
    ...changes,
  })
  const running = folder.start(['start', '--workers', String(workers)])
  let log = ''
  running.process.stdout?.on('data', (text: string) => (log += text))
  const events = (event: string): LogLine[] =>
    log
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine)
      .filter((line) => line['event'] === event)

  async function ask(
    method: 'GET' | 'POST',
    url: string,
    { cookie = '', body }: { cookie?: string; body?: URLSearchParams | undefined } = {},
  ): Promise<PoolAnswer & { readonly setCookies: string[] }> {
    const response = await request(url, {
      method,
      reset: true,
      headers: {
        origin,
        'token-handler-version': '1',
        'content-type': 'application/x-www-form-urlencoded',
        ...(cookie === '' ? {} : { cookie }),
      },
      ...(body === undefined ? {} : { body: body.toString() }),
    })
    const json = (await response.body.json()) as Record<string, unknown>
    const code = json['error_code']
    return {
      status: response.statusCode,
      code: typeof code === 'string' ? code : undefined,
      body: json,
      setCookies: [response.headers['set-cookie'] ?? []].flat(),
    }
  }

  const pool: RunningPool = {
    events,
    pids() {
      const dead = new Set(events('worker_died').map(({ worker }) => worker))
      return events('worker_started')
        .filter(({ worker }) => !dead.has(worker))
        .map(({ pid }) => Number(pid))
    },
    workersThatAnswered: () => events('request').map(({ worker }) => worker),
    ready: () => ask('GET', `http://127.0.0.1:${adminPort}/readyz`),
    metrics: async () => (await request(`http://127.0.0.1:${adminPort}/metrics`, { reset: true })).body.text(),
    async admin(path, body) {
      const answer = await request(`http://127.0.0.1:${adminPort}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        reset: true,
        headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      return (await answer.body.json()) as Record<string, unknown>
    },
    async operationsPage() {
      const adminOrigin = `http://127.0.0.1:${adminPort}`
      const login = await request(`${adminOrigin}/operations/login`, {
        method: 'POST',
        reset: true,
        headers: { origin: adminOrigin, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ key: adminKey }).toString(),
      })
      await login.body.dump()
      const [cookie = ''] = String(login.headers['set-cookie']).split(';')
      return (await request(`${adminOrigin}/operations`, { reset: true, headers: { cookie } })).body.text()
    },
    request: () => ask('GET', `http://127.0.0.1:${port}/oauth-agent/session`),
    async call(method, path, jar, body) {
      const url = origin + path
      const answer = await ask(method, `http://127.0.0.1:${port}${path}`, { cookie: jar.header(url), body })
      jar.store(url, answer.setCookies)
      return answer
    },
    async logIn() {
      const jar = new CookieJar()
      const started = await pool.call('POST', '/oauth-agent/login/start', jar)
      const callback = server.authorize(String(started.body['authorization_url']))
      const ended = await pool.call('POST', '/oauth-agent/login/end', jar, callback.searchParams)
      if (ended.body['is_logged_in'] !== true) throw new Error(`login: ${ended.status} ${ended.code}`)
      return jar
    },
    refresh: (jar) => pool.call('POST', '/oauth-agent/refresh', jar),
    copyOf(jar) {
      const copy = new CookieJar()
      copy.restore(jar.snapshot())
      return copy
    },
    holdRefreshes() {
      const held = Promise.withResolvers<void>()
      pool.releaseRefreshes = () => held.resolve()
      server.script.token = async ({ standard }) => {
        await held.promise
        return standard()
      }
    },
    heldRefreshes: () => server.count('token', 'refresh_token'),
    releaseRefreshes() {},
    isRefusing: () =>
      new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1')
        socket.once('connect', () => resolve(false)).once('error', () => resolve(true))
        socket.once('connect', () => socket.destroy())
      }),
    signal: (signal) => void running.process.kill(signal),
    stop(signal) {
      running.process.kill(signal)
      return running.ended
    },
    async close() {
      if (running.process.exitCode === null) running.process.kill('SIGKILL')
      await running.ended
      await server.close()
    },
  }
  const isServing = (): boolean => events('worker_started').length === workers
  try {
    const patience = { timeoutMs: 40_000 }
    await until('all workers serve', () => isServing() || running.process.exitCode !== null, patience)
    if (!isServing()) throw new Error(`the command ended: ${(await running.ended).stderr}`)
    await until('they are ready', async () => (await pool.ready()).body['ready'] === true)
  } catch (error) {
    await pool.close()
    throw error
  }
  return pool
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
