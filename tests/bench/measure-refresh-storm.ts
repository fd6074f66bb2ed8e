import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CookieJar } from '../support/cookie-jar.ts'
import { until } from '../support/until.ts'
import { AgentFleet } from '../torture/agents.ts'
import { TortureAuthorizationServer } from '../torture/authorization-server.ts'
import { BrowserRequests } from '../torture/browser-request.ts'
import { History } from '../torture/history.ts'
import { createLogIn } from '../torture/login.ts'
import { startStore } from '../torture/store.ts'
import type { Bench } from './bench.ts'

/** By round: one session whose access token is over, and everything asks for a new one at once. */
export interface RefreshStorm {
  /** Calls to the authorization server: one is right, however many asked. */
  readonly authorizationServerCalls: number[]
  /** 99th percentile of the time that a call waited for its answer, the authorization server's {@link answerMs} included. */
  readonly p99Ms: number[]
}

const agentCount = 3
const callsEach = 200
/** What the authorization server takes for one call. */
const answerMs = 200
const refreshPath = '/oauth-agent/refresh'
const origin = 'http://localhost:3000'

/**
 * 200 calls at each of three processes with the same cookies, against a strict authorization server, which would end the
 * session if its refresh token came twice.
 * @throws Error when a call is not answered with the new cookies.
 */
export async function measureRefreshStorm(bench: Bench, storeKind: 'sqlite' | 'redis'): Promise<RefreshStorm> {
  const { rounds, isQuick } = bench.options
  const folder = mkdtempSync(join(tmpdir(), 'bench-storm-'))
  const history = new History()
  const server = await TortureAuthorizationServer.start('strict', 0)
  const store = await startStore(storeKind, { folder, agents: agentCount, history })
  writeFileSync(join(folder, 'keys.json'), JSON.stringify(bench.keyFile), { mode: 0o600 })
  writeFileSync(join(folder, 'client-secret'), server.clientSecret, { mode: 0o600 })
  const agents = await AgentFleet.start({
    folder,
    history,
    preload: undefined,
    environment: () => ({}),
    isStoreAway: () => false,
    onPause: () => undefined,
    configurations: Array.from({ length: agentCount }, (_, agent) => ({
      public_url: origin,
      listen: { port: 0 },
      authorization_server: {
        issuer: server.issuer,
        client_id: server.clientId,
        client_authentication: { method: 'client_secret_basic', client_secret: 'file:client-secret' },
        redirect_uri: `${origin}/callback`,
      },
      keys: { file: 'keys.json' },
      ledger: store.ledgerOf(agent),
      agent: { rate_limit: { enabled: false } },
      audit: { sink: 'off' },
      log: { level: 'info' },
    })),
  })
  const requests = new BrowserRequests({ origin, agents, history })
  const abandoned = (): void => agents.kill9()
  process.once('exit', abandoned)
  try {
    let calls = 0
    server.answerRefreshes(async (_agent, _token, res, process) => {
      calls += 1
      await sleep(answerMs)
      const { status, body } = await process()
      res.writeHead(status, { 'content-type': 'application/json' }).end(body)
    })
    const jar = new CookieJar()
    const logIn = createLogIn(requests, async (url) => server.authorize(url))
    // An agent serves before it has read the authorization server's metadata, and says so.
    await until('a login', () => logIn(jar, 0))
    const storm: RefreshStorm = { authorizationServerCalls: [], p99Ms: [] }
    for (let round = 0; round < rounds; round++) {
      calls = 0
      storm.p99Ms.push(await askAtOnce(requests, jar, isQuick ? 10 : callsEach))
      storm.authorizationServerCalls.push(calls)
    }
    return storm
  } finally {
    process.off('exit', abandoned)
    await agents.stop()
    await requests.close()
    await store.close()
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns 99th percentile of the waiting times, milliseconds. The jar gets the new cookies. */
async function askAtOnce(requests: BrowserRequests, jar: CookieJar, callsOfEach: number): Promise<number> {
  const cookie = jar.header(origin + refreshPath)
  const waited: number[] = []
  const replies = await Promise.all(
    Array.from({ length: agentCount * callsOfEach }, async (_, call) => {
      const sentAt = performance.now()
      const reply = await requests.ask({ agent: call % agentCount, method: 'POST', path: refreshPath, cookie })
      waited.push(performance.now() - sentAt)
      return reply
    }),
  )
  for (const reply of replies) {
    const isGiven = reply.outcome === 'answer' && reply.status === 200 && reply.setCookies.length > 0
    if (!isGiven) throw new Error('a call of the refresh storm was not given the new cookies')
    jar.store(origin + refreshPath, reply.setCookies)
  }
  return waited.toSorted((a, b) => a - b)[Math.floor(waited.length * 0.99)] ?? NaN
}
