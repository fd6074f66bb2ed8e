import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { CookieJar } from '../support/cookie-jar.ts'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { callWith, type Answer } from './call.ts'

/**
 * A browser sets cookies in the order in which answers arrive, not in the order of its requests. Here the requests are
 * made, their answers kept, and then let in, in every order.
 */
let demo: TestDemo

beforeAll(async () => {
  demo = await startTestDemo()
})

afterAll(async () => {
  await demo.close()
})

const agent = (path: string): string => `${demo.url}/oauth-agent/${path}`

/** An agent call with the cookies that a jar would send, whose answer does not arrive yet. */
function send(jar: CookieJar, path: string, body?: URLSearchParams): Promise<Answer> {
  const method = path === 'session' ? 'GET' : 'POST'
  return callWith(jar.header(agent(path)), agent(path), { method, ...(body === undefined ? {} : { body }) })
}

function arrive(jar: CookieJar, answer: Answer): void {
  jar.store(agent('session'), answer.setCookies)
}

/** Completes a login in a jar. @returns the answer that makes the session, which did not arrive yet */
async function pendingLogin(jar: CookieJar): Promise<Answer> {
  const callback = new URL(await new SessionBrowser(demo.url, { jar }).authorize())
  return send(jar, 'login/end', callback.searchParams)
}

function sidIn(jar: CookieJar): string | undefined {
  return jar.get('__Host-Http-th-sid')[0]?.value
}

function sidSetBy({ setCookies }: Answer): string | undefined {
  return /^__Host-Http-th-sid=([\w-]+);/.exec(setCookies.find((line) => line.includes('-sid=')) ?? '')?.[1]
}

/** Whether the jar's cookies are a session that works at agent and proxy. */
async function works(jar: CookieJar): Promise<boolean> {
  const session = await send(jar, 'session')
  const api = await callWith(jar.header(`${demo.url}/api/me`), `${demo.url}/api/me`)
  return session.json['is_logged_in'] === true && api.status === 200
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]))
}

function copyOf(jar: CookieJar): CookieJar {
  const copy = new CookieJar()
  copy.restore(jar.snapshot())
  return copy
}

async function loggedIn(): Promise<CookieJar> {
  const jar = new CookieJar()
  await new SessionBrowser(demo.url, { jar }).logIn()
  return jar
}

/** Names of answers in the order in which they arrive. */
const lateOrders = permutations(['refresh', 'session', 'new login'] as const).map((order) => [order.join(', '), order])

describe('answers that arrive late', () => {
  it.each(lateOrders as [string, ('refresh' | 'session' | 'new login')[]][])(
    'of the session before a login never take its place: %s',
    async (_name, order) => {
      const jar = await loggedIn()
      const answers = {
        refresh: await send(jar, 'refresh'),
        session: await send(jar, 'session'),
        'new login': await pendingLogin(copyOf(jar)),
      }
      for (const name of order) arrive(jar, answers[name])
      expect(sidIn(jar)).toBe(sidSetBy(answers['new login']))
      expect(await works(jar)).toBe(true)
      // And what was left of the old one goes with the next answer.
      arrive(jar, await send(jar, 'session'))
      expect(jar.names().filter((name) => name.includes('-rt-'))).toHaveLength(1)
      expect(await works(jar)).toBe(true)
    },
  )

  it.each(
    permutations(['first refresh', 'second refresh', 'third refresh'] as const).map(
      (order) => [order.join(', '), order] as const,
    ),
  )('of one session leave the newest within reach: %s', async (_name, order) => {
    const jar = await loggedIn()
    const ahead = copyOf(jar)
    const answers = new Map<string, Answer>()
    for (const name of ['first refresh', 'second refresh', 'third refresh']) {
      const answer = await send(ahead, 'refresh')
      expect(answer.status).toBe(200)
      arrive(ahead, answer)
      answers.set(name, answer)
    }
    for (const name of order) arrive(jar, answers.get(name) as Answer)
    expect(await works(jar)).toBe(true)
    const again = await send(jar, 'refresh')
    expect(again.status).toBe(200)
    arrive(jar, again)
    expect(await works(jar)).toBe(true)
  })

  it('of two logins at once leave one whole session, whichever comes last', async () => {
    for (const isReversed of [false, true]) {
      const jar = new CookieJar()
      const answers = [await pendingLogin(copyOf(jar)), await pendingLogin(copyOf(jar))]
      const [first, last] = (isReversed ? answers.toReversed() : answers) as [Answer, Answer]
      arrive(jar, first)
      arrive(jar, last)
      expect(sidIn(jar)).toBe(sidSetBy(last))
      expect(await works(jar)).toBe(true)
    }
  })

  it('[B-LO-09] of a session that was logged out meanwhile bring nothing back', async () => {
    const jar = await loggedIn()
    const late = [await send(jar, 'refresh'), await send(jar, 'session')]
    arrive(jar, await send(jar, 'logout'))
    expect(jar.names()).toEqual([])
    for (const answer of late) arrive(jar, answer)
    expect(await works(jar)).toBe(false)
    expect((await send(jar, 'refresh')).code).toBe('session_expired')
    expect((await send(jar, 'session')).json).toEqual({ is_logged_in: false })
  })

  it('of a logout, after the next login, leave nobody logged in rather than somebody else', async () => {
    const jar = await loggedIn()
    const logout = await send(jar, 'logout')
    arrive(jar, await pendingLogin(copyOf(jar)))
    arrive(jar, logout)
    expect(sidIn(jar)).toBeUndefined()
    expect(await works(jar)).toBe(false)
    // What the lost session left behind is cleared, and the next login is whole.
    arrive(jar, await send(jar, 'session'))
    expect(jar.names().filter((name) => name.includes('-rt-'))).toEqual([])
    arrive(jar, await pendingLogin(jar))
    expect(await works(jar)).toBe(true)
  })
})
