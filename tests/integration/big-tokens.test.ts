import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createOAuthProxy, hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { openSqliteLedger, silentLogger, type Ledger, type Unknown } from '@token-handler/shared'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from '../oauth-agent/running-agent.ts'
import { startScripted, type Scripted } from '../oauth-agent/scripted.ts'
import { routeTo } from '../oauth-proxy/proxy-under-test.ts'
import { temporaryFile } from '../shared/sqlite-file.ts'
import { fakeClock } from '../support/clock.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { callWith, type Answer } from './call.ts'

const origin = 'http://localhost:3000'

/** Agent and proxy with a ledger each on one file, as two machines' processes have one store. */
interface Pair {
  readonly scripted: Scripted
  readonly upstream: Upstream
  /** The agent's, which a test may take away. */
  readonly store: { isAway: boolean }
  readonly reads: string[]
  api(browser: Browser): Promise<Answer>
  lastBearer(): string | undefined
  close(): Promise<void>
}

async function startPair(tokens: 'cookie' | 'ledger' | 'auto'): Promise<Pair> {
  const clock = fakeClock()
  const file = temporaryFile()
  const open = (): Promise<Ledger> => openSqliteLedger({ path: file.path, clock, logger: silentLogger })
  const [agents, proxys] = [await open(), await open()]
  const store = { isAway: false }
  const unknown: Unknown = { state: 'unknown' }
  const ledger: Ledger = {
    ...agents,
    putToken: (token) => (store.isAway ? Promise.resolve(unknown) : agents.putToken(token)),
  }
  const scripted = await startScripted({ clock, ledger, options: { tokens } })
  const upstream = await startUpstream()
  const reads: string[] = []
  const { cookies } = scripted.agent.options
  const proxy = createOAuthProxy({
    options: {
      publicOrigin: origin,
      trustedOrigins: new Set([origin]),
      cookies,
      routes: [routeTo(upstream.origin)],
      trustedProxies: [],
    },
    sealer: scripted.agent.sealer,
    rules: proxys.rules,
    tokens: {
      readToken(sid, reference) {
        reads.push(reference)
        return proxys.readToken(sid, reference)
      },
    },
    clock,
    logger: silentLogger,
  })
  const server = createServer(serverOptions)
  hardenServer(server)
  server.on('request', (req, res) => proxy.handle(req, res))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    scripted,
    upstream,
    store,
    reads,
    api: ({ jar }) => callWith(jar.header(`${origin}/api/x`), `http://127.0.0.1:${port}/api/x`, { origin }),
    lastBearer: () => upstream.requests.at(-1)?.values('authorization')[0],
    async close() {
      server.close()
      server.closeAllConnections()
      await proxy.close(0)
      await upstream.close()
      await scripted.close()
      await agents.close()
      await proxys.close()
      file.removeFolder()
    },
  }
}

const large = (letter: string): string => letter.repeat(20_000)

describe('an access token of 20 KB', () => {
  let pair: Pair
  beforeEach(async () => {
    pair = await startPair('auto')
  })
  afterEach(() => pair.close())

  async function loggedInWith(token: string): Promise<Browser> {
    pair.scripted.server.tokenAnswer = { access_token: token }
    return pair.scripted.loggedIn()
  }

  it('[C-114] logs in within the budgets, and reaches the API whole', async () => {
    const browser = await loggedInWith(large('a'))
    expect(browser.jar.header(`${origin}/api/x`).length).toBeLessThan(1500)
    expect((await pair.api(browser)).status).toBe(200)
    expect(pair.lastBearer()).toBe(`Bearer ${large('a')}`)
  })

  it('is refreshed: the proxy sends the new one, and never the old one again', async () => {
    const browser = await loggedInWith(large('a'))
    await pair.api(browser)
    pair.scripted.server.tokenAnswer = { access_token: large('b') }
    expect((await browser.post('refresh')).status).toBe(200)
    await pair.api(browser)
    expect(pair.lastBearer()).toBe(`Bearer ${large('b')}`)
    expect(pair.reads).toHaveLength(2)
  })

  it('[B-RT-03] is there for who missed the answer of the refresh, too', async () => {
    const browser = await loggedInWith(large('a'))
    const before = browser.jar.snapshot()
    pair.scripted.server.tokenAnswer = { access_token: large('b') }
    await browser.post('refresh')
    browser.jar.restore(before)
    expect((await pair.api(browser)).status).toBe(200)
    expect(pair.lastBearer()).toBe(`Bearer ${large('a')}`)
    pair.scripted.server.tokenAnswer = { access_token: large('c') }
    expect((await browser.post('refresh')).status).toBe(200)
    await pair.api(browser)
    expect(pair.lastBearer()).toBe(`Bearer ${large('b')}`)
    expect(pair.scripted.server.count('token', 'refresh_token')).toBe(1)
  })

  it('may grow out of the cookie and shrink back into it', async () => {
    const browser = await loggedInWith('small')
    for (const token of [large('a'), 'small-again', large('b')]) {
      pair.scripted.server.tokenAnswer = { access_token: token }
      expect((await browser.post('refresh')).status).toBe(200)
      await pair.api(browser)
      expect(pair.lastBearer()).toBe(`Bearer ${token}`)
    }
    expect(pair.reads).toHaveLength(2)
  })

  it('is of no use after the logout, for a copy of the cookies either', async () => {
    const browser = await loggedInWith(large('a'))
    const copy = pair.scripted.agent.browser()
    copy.jar.restore(browser.jar.snapshot())
    await browser.post('logout')
    const answer = await pair.api(copy)
    expect([answer.status, pair.upstream.requests.length]).toEqual([401, 0])
  })

  it('fails the login, and is revoked, where the store cannot keep it', async () => {
    pair.store.isAway = true
    pair.scripted.server.tokenAnswer = { access_token: large('a') }
    const { answer } = await pair.scripted.logIn(pair.scripted.agent.browser())
    expect([answer.status, answer.json['error_code']]).toEqual([503, 'store_unavailable'])
  })

  it('loses no refresh token where the store cannot keep it at a refresh: another refresh heals it', async () => {
    const browser = await loggedInWith(large('a'))
    pair.store.isAway = true
    pair.scripted.server.tokenAnswer = { access_token: large('b') }
    expect((await browser.post('refresh')).status).toBe(200)
    expect(await pair.api(browser)).toMatchObject({ status: 401, code: 'access_token_expired' })
    pair.store.isAway = false
    pair.scripted.server.tokenAnswer = { access_token: large('c') }
    expect((await browser.post('refresh')).status).toBe(200)
    expect((await pair.api(browser)).status).toBe(200)
    expect(pair.lastBearer()).toBe(`Bearer ${large('c')}`)
  })

  it('shows nowhere: not in answers, not in the log', async () => {
    const browser = await loggedInWith(large('a'))
    await browser.post('refresh')
    expect(pair.scripted.leaks()).toEqual([])
    expect(pair.scripted.agent.log()).not.toContain('a'.repeat(50))
  })
})

describe('tokens: ledger', () => {
  it('keeps small tokens out of the cookie, too', async () => {
    const pair = await startPair('ledger')
    pair.scripted.server.tokenAnswer = { access_token: 'small' }
    const browser = await pair.scripted.loggedIn()
    expect((await pair.api(browser)).status).toBe(200)
    expect([pair.lastBearer(), pair.reads.length]).toEqual(['Bearer small', 1])
    await pair.close()
  })
})

describe('tokens: cookie', () => {
  it('[C-114] refuses what does not fit, as ever', async () => {
    const pair = await startPair('cookie')
    pair.scripted.server.tokenAnswer = { access_token: large('a') }
    const { answer } = await pair.scripted.logIn(pair.scripted.agent.browser())
    expect([answer.status, answer.json['error_code']]).toEqual([502, 'token_too_large'])
    await pair.close()
  })
})
