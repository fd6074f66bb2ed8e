import type { ServerResponse } from 'node:http'
import { describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import type {
  EventSourceStream,
  ServerEvent,
  StreamOptions,
  StreamState,
  WebSocketStream,
} from '@token-handler/client/streams'
import { until } from '../support/until.ts'
import { json } from './scripted-agent.ts'
import { failureOf, useTestBed } from './test-page.ts'

const bed = useTestBed()

declare global {
  interface Window {
    states: StreamState[]
    events: ServerEvent[]
    messages: unknown[]
    feed: EventSourceStream
    socket: WebSocketStream
  }
}

const EVENTS = 'GET /api/events'
/** Streams that the server has open, in order. */
let streams: ServerResponse[]

async function open(): Promise<Page> {
  streams = []
  bed.server.script(EVENTS, (request) => {
    const refused = bed.server.agent.answer(request)
    if (refused?.status !== 200) return refused
    return {
      status: 200,
      headers: { 'content-type': 'text/event-stream; charset=utf-8' },
      body: (response) => {
        response.flushHeaders()
        streams.push(response)
      },
    }
  })
  return bed.logIn()
}

const quick: StreamOptions = { backoffMs: { first: 20, most: 100 } }

function startFeed(page: Page, options: StreamOptions & { lastEventId?: string } = quick): Promise<void> {
  return page.evaluate((given) => {
    window.states = []
    window.events = []
    window.feed = window.library.eventSource(window.client, '/api/events', {
      ...given,
      onEvent: (event) => window.events.push(event),
      onState: (state) => window.states.push(state),
    })
  }, options)
}

function startSocket(page: Page, options: StreamOptions & { protocols?: string[] } = quick): Promise<void> {
  return page.evaluate((given) => {
    window.states = []
    window.messages = []
    window.socket = window.library.webSocket(window.client, '/api/feed', {
      ...given,
      onMessage: (data) => window.messages.push(typeof data === 'string' ? data : [...new Uint8Array(data)]),
      onState: (state) => window.states.push(state),
    })
  }, options)
}

async function stream(count: number): Promise<ServerResponse> {
  await until(`stream ${count}`, () => streams.length >= count)
  return streams[count - 1] as ServerResponse
}

function last(page: Page): Promise<StreamState | undefined> {
  return page.evaluate(() => window.states.at(-1))
}

async function closedWith(page: Page): Promise<string> {
  await page.waitForFunction(() => window.states.at(-1)?.status === 'closed')
  const state = await last(page)
  return state !== undefined && 'code' in state ? state.code : ''
}

/** Codes of the waits so far. */
function waits(page: Page): Promise<string[]> {
  return page.evaluate(() => window.states.flatMap((state) => (state.status === 'waiting' ? [state.code] : [])))
}

async function isOpen(page: Page): Promise<void> {
  await page.waitForFunction(() => window.states.at(-1)?.status === 'open')
}

const end = (code: string): string => `event: ${code}\ndata: {"code":"${code}"}\n\n`

describe('eventSource', () => {
  it('hears events with their names and ids, with the session and the version header', async () => {
    const page = await open()
    await startFeed(page)
    ;(await stream(1)).write('id: 4\nevent: order\ndata: {"item":"Tinte – schön"}\n\ndata: plain\n\n')
    await page.waitForFunction(() => window.events.length === 2)
    expect(await page.evaluate(() => window.events)).toEqual([
      { type: 'order', data: '{"item":"Tinte – schön"}', lastEventId: '4' },
      { type: 'message', data: 'plain', lastEventId: '4' },
    ])
    expect(await page.evaluate(() => window.states.map(({ status }) => status))).toEqual(['connecting', 'open'])
    const [asked] = bed.server.receivedAt(EVENTS)
    expect(asked?.headers).toMatchObject({ accept: 'text/event-stream', 'token-handler-version': '1' })
    expect(asked?.headers['last-event-id']).toBeUndefined()
  })

  it('goes on after a break from the last event', async () => {
    const page = await open()
    await startFeed(page)
    ;(await stream(1)).end('id: 4\ndata: a\n\n')
    const second = await stream(2)
    expect(bed.server.receivedAt(EVENTS)[1]?.headers['last-event-id']).toBe('4')
    second.write('data: b\n\n')
    await page.waitForFunction(() => window.events.length === 2)
    second.destroy()
    await stream(3)
    expect(bed.server.receivedAt(EVENTS)[2]?.headers['last-event-id']).toBe('4')
    expect(await waits(page)).toEqual(['connection_lost', 'connection_lost'])
  })

  it('waits as long as the server asked for, also after connections on which it did not ask again', async () => {
    const page = await open()
    await startFeed(page, { backoffMs: { first: 600_000, most: 600_000 } })
    ;(await stream(1)).end('retry: 10\n\n')
    ;(await stream(2)).end('data: a\n\n')
    await stream(3)
    expect(await waits(page)).toEqual(['connection_lost', 'connection_lost'])
  })

  it('goes on from where an earlier page stood', async () => {
    const page = await open()
    await startFeed(page, { ...quick, lastEventId: '12' })
    await stream(1)
    expect(bed.server.receivedAt(EVENTS)[0]?.headers['last-event-id']).toBe('12')
    expect(await page.evaluate(() => window.feed.lastEventId)).toBe('12')
  })

  it('refreshes and goes on when the proxy ends it with access_token_expired', async () => {
    const page = await open()
    await startFeed(page)
    const first = await stream(1)
    bed.server.agent.expireAccessToken()
    first.end(end('access_token_expired'))
    await stream(2)
    expect(bed.server.agent.refreshes).toBe(1)
    expect(await waits(page)).toEqual(['access_token_expired'])
    expect(await page.evaluate(() => window.events)).toEqual([])
  })

  it.each(['stream_too_long', 'shutting_down'])('opens again after %s, without a refresh', async (code) => {
    const page = await open()
    await startFeed(page)
    ;(await stream(1)).end(end(code))
    await stream(2)
    expect(await waits(page)).toEqual([code])
    expect(bed.server.agent.refreshes).toBe(0)
  })

  it('is over with the session, in every tab', async () => {
    const page = await open()
    await startFeed(page)
    const first = await stream(1)
    bed.server.agent.endSession()
    first.end(end('session_ended'))
    expect(await closedWith(page)).toBe('session_ended')
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(false)
    expect(bed.server.receivedAt(EVENTS)).toHaveLength(1)
  })

  it('goes on when the session that ended was replaced by another', async () => {
    const page = await open()
    await startFeed(page)
    ;(await stream(1)).end(end('session_ended'))
    await stream(2)
    expect(await waits(page)).toEqual(['session_ended'])
  })

  it('hears an event of the API that is only called like one of the proxy', async () => {
    const page = await open()
    await startFeed(page)
    ;(await stream(1)).write('event: shutting_down\ndata: {"code":"other"}\n\n')
    await page.waitForFunction(() => window.events.length === 1)
    expect(await waits(page)).toEqual([])
  })

  it('refreshes first when the access token is over', async () => {
    const page = await open()
    bed.server.agent.expireAccessToken()
    await startFeed(page)
    await stream(1)
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it.each([502, 503, 429])('tries again after %i, as late as the answer asks', async (status) => {
    const page = await open()
    let refusals = 0
    bed.server.script(EVENTS, () =>
      (refusals += 1) > 2 ? undefined : json(status, { code: 'x' }, [], refusals === 1 ? { 'retry-after': '0' } : {}),
    )
    await startFeed(page)
    await stream(1)
    expect(await page.evaluate(() => window.states.slice(0, 2))).toEqual([
      { status: 'connecting' },
      { status: 'waiting', code: 'stream_unavailable', waitMs: 0 },
    ])
    expect(refusals).toBe(3)
  })

  it.each<[string, number, Record<string, string>, string]>([
    ['403', 403, {}, 'stream_refused'],
    ['something else than an event stream', 200, { 'content-type': 'application/json' }, 'stream_refused'],
    ['204, which says that there is nothing more', 204, {}, 'closed_by_server'],
    [
      'a challenge',
      401,
      { 'www-authenticate': 'Bearer error="insufficient_user_authentication", max_age="5"' },
      'step_up_required',
    ],
  ])('gives up for %s', async (_name, status, headers, code) => {
    const page = await open()
    bed.server.script(EVENTS, () => ({ status, headers }))
    await startFeed(page)
    expect(await closedWith(page)).toBe(code)
    expect(bed.server.receivedAt(EVENTS)).toHaveLength(1)
  })

  it('stops at a logout, in whichever tab', async () => {
    const page = await open()
    const other = await bed.open()
    await startFeed(page)
    const first = await stream(1)
    const gone = new Promise((resolve) => first.on('close', resolve))
    await isOpen(page)
    await other.evaluate(() => window.client.logout({ navigate: false }))
    expect(await closedWith(page)).toBe('logout')
    await gone
  })

  it('belongs to one session: another login opens it anew', async () => {
    const page = await open()
    await startFeed(page)
    const first = await stream(1)
    const gone = new Promise((resolve) => first.on('close', resolve))
    await isOpen(page)
    await bed.logInThroughPages()
    await gone
    await stream(2)
    expect(await waits(page)).toEqual(['connection_lost'])
  })

  it('goes over to another user who logged in while it waited for a refresh', async () => {
    const page = await open()
    bed.server.agent.expireAccessToken()
    bed.server.agent.claims = { sub: 'somebody-else' }
    await startFeed(page)
    await stream(1)
    await page.waitForFunction(() => window.states.at(-1)?.status === 'open')
    expect(await page.evaluate(() => window.states.some(({ status }) => status === 'closed'))).toBe(false)
  })

  it('goes on though what hears of its state throws, and reports that to the page', async () => {
    const page = await open()
    const mistakes: string[] = []
    page.on('pageerror', ({ message }) => mistakes.push(message))
    await page.evaluate(() => {
      window.events = []
      window.feed = window.library.eventSource(window.client, '/api/events', {
        onEvent: (event) => window.events.push(event),
        onState: ({ status }) => {
          throw new Error(`a mistake of the application at ${status}`)
        },
      })
    })
    const response = await stream(1)
    response.write('data: one\n\n')
    await page.waitForFunction(() => window.events.length === 1)
    expect(mistakes).toEqual(['connecting', 'open'].map((status) => `a mistake of the application at ${status}`))
  })

  it('is closed by close() and by its signal, while open and while it waits', async () => {
    const page = await open()
    for (const round of [1, 2]) {
      await startFeed(page)
      await stream(round)
      await page.evaluate(() => window.feed.close())
      expect(await closedWith(page)).toBe('closed')
    }
    bed.server.script(EVENTS, () => json(503, {}, [], { 'retry-after': '1000' }))
    await page.evaluate(() => {
      const aborting = new AbortController()
      window.states = []
      window.library.eventSource(window.client, '/api/events', {
        signal: aborting.signal,
        onEvent: () => undefined,
        onState: (state) => {
          window.states.push(state)
          if (state.status === 'waiting') queueMicrotask(() => aborting.abort())
        },
      })
    })
    expect(await closedWith(page)).toBe('closed')
  })

  it('opens anew after a silence, if told how long is too long; a comment is a sign of life', async () => {
    const page = await open()
    await startFeed(page, { ...quick, silenceMs: 400 })
    const first = await stream(1)
    const gone = new Promise((resolve) => first.on('close', resolve))
    first.write(':\n\n')
    await gone
    await stream(2)
    expect(await waits(page)).toEqual(['connection_lost'])
  })

  it('refuses other origins before anything is sent', async () => {
    const page = await open()
    const failure = await failureOf(page, async () =>
      window.library.eventSource(window.client, 'https://evil.example/api/events', { onEvent: () => undefined }),
    )
    expect(failure).toMatchObject({ code: 'origin_not_allowed' })
  })
})

describe('webSocket', () => {
  it('talks both ways, in text and binary, with a subprotocol', async () => {
    const page = await open()
    await startSocket(page, { ...quick, protocols: ['feed.v1'] })
    const socket = await bed.server.sockets.latest(1)
    await isOpen(page)
    const heard: unknown[] = []
    socket.on('message', (data, isBinary) => heard.push(isBinary ? data : (data as Buffer).toString()))
    socket.send('text')
    socket.send(new Uint8Array([1, 2, 3]))
    await page.waitForFunction(() => window.messages.length === 2)
    expect(await page.evaluate(() => window.messages)).toEqual(['text', [1, 2, 3]])
    expect(await page.evaluate(() => window.socket.socket?.protocol)).toBe('feed.v1')
    expect(await page.evaluate(() => window.socket.send('hello'))).toBe(true)
    await until('the message', () => heard.length === 1)
    expect(heard).toEqual(['hello'])
  })

  it('sends now or never', async () => {
    const page = await open()
    bed.server.sockets.refusals.push(502, 502, 502)
    await startSocket(page, {})
    expect(await page.evaluate(() => window.socket.send('lost'))).toBe(false)
  })

  it('refreshes and opens again when the proxy closes it with 4401 access_token_expired', async () => {
    const page = await open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    await isOpen(page)
    bed.server.agent.expireAccessToken()
    socket.close(4401, 'access_token_expired')
    await bed.server.sockets.latest(2)
    expect(bed.server.agent.refreshes).toBe(1)
    expect(await waits(page)).toEqual(['access_token_expired'])
  })

  it.each([
    [4408, 'stream_too_long', 'stream_too_long'],
    [1001, 'shutting_down', 'shutting_down'],
    [1001, '', 'connection_lost'],
    [1011, 'oops', 'connection_lost'],
    [1012, '', 'connection_lost'],
  ])('opens again after %i %s, without a refresh', async (closeCode, reason, code) => {
    const page = await open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    await isOpen(page)
    socket.close(closeCode, reason)
    await bed.server.sockets.latest(2)
    expect(await waits(page)).toEqual([code])
    expect(bed.server.agent.refreshes).toBe(0)
  })

  it('opens again when the connection breaks', async () => {
    const page = await open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    await isOpen(page)
    socket.terminate()
    await bed.server.sockets.latest(2)
    expect(await waits(page)).toEqual(['connection_lost'])
  })

  it('is over with the session', async () => {
    const page = await open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    await isOpen(page)
    bed.server.agent.endSession()
    socket.close(4401, 'session_ended')
    expect(await closedWith(page)).toBe('session_ended')
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(false)
    expect(bed.server.sockets.asked).toHaveLength(1)
  })

  it.each([
    [1000, 'done'],
    [4401, 'of the API'],
    [4000, ''],
    [1008, ''],
  ])('leaves it at that when the API closes with %i', async (closeCode, reason) => {
    const page = await open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    await isOpen(page)
    socket.close(closeCode, reason)
    expect(await closedWith(page)).toBe('closed_by_server')
    const state = await last(page)
    expect(state?.status === 'closed' ? state.closeCode : undefined).toBe(closeCode)
  })

  it('asks the agent when the handshake is refused: over, then it is reported', async () => {
    const page = await open()
    bed.server.agent.endSession()
    bed.server.sockets.refusals.push(401)
    await startSocket(page)
    expect(await closedWith(page)).toBe('session_ended')
    expect(bed.server.sockets.asked).toHaveLength(1)
  })

  it('asks the agent when the handshake is refused: the token is over, then it refreshes', async () => {
    const page = await open()
    bed.server.agent.expireAccessToken()
    bed.server.sockets.refusals.push(401)
    await startSocket(page)
    await bed.server.sockets.latest(1)
    expect(bed.server.agent.refreshes).toBe(1)
  })

  it('refreshes once, whatever the agent says, when it is refused twice: the access cookie may be gone', async () => {
    const page = await open()
    bed.server.sockets.refusals.push(502, 502, 502, 502)
    await startSocket(page)
    await bed.server.sockets.latest(1)
    expect(bed.server.agent.refreshes).toBe(1)
    expect(await waits(page)).toEqual(['refused', 'refused', 'refused', 'refused'])
  })

  it('waits longer from try to try, by chance, up to a limit', async () => {
    const page = await open()
    bed.server.sockets.refusals.push(502, 502, 502, 502, 502)
    await startSocket(page, { backoffMs: { first: 40, most: 100 } })
    await bed.server.sockets.latest(1)
    const times = await page.evaluate(() =>
      window.states.flatMap((state) => (state.status === 'waiting' ? [state.waitMs] : [])),
    )
    expect(times).toHaveLength(5)
    for (const [index, most] of [40, 80, 100, 100, 100].entries()) {
      expect(times[index]).toBeLessThanOrEqual(most)
      expect(times[index]).toBeGreaterThanOrEqual(most / 2)
    }
  })

  it('tries again at once when the browser is online again', async () => {
    const page = await open()
    bed.server.sockets.refusals.push(502)
    await startSocket(page, { backoffMs: { first: 1_000_000, most: 1_000_000 } })
    await page.waitForFunction(() => window.states.at(-1)?.status === 'waiting')
    await page.evaluate(() => dispatchEvent(new Event('online')))
    await bed.server.sockets.latest(1)
    expect(await waits(page)).toEqual(['refused'])
  })

  it('stops at a logout, in whichever tab, and closes the connection', async () => {
    const page = await open()
    const other = await bed.open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    const gone = new Promise((resolve) => socket.on('close', resolve))
    await isOpen(page)
    await other.evaluate(() => window.client.logout({ navigate: false }))
    expect(await closedWith(page)).toBe('logout')
    await gone
    expect(await page.evaluate(() => window.socket.send('x'))).toBe(false)
  })

  it('is closed by close()', async () => {
    const page = await open()
    await startSocket(page)
    const socket = await bed.server.sockets.latest(1)
    const gone = new Promise((resolve) => socket.on('close', resolve))
    await isOpen(page)
    await page.evaluate(() => window.socket.close())
    expect(await closedWith(page)).toBe('closed')
    await gone
  })

  it('gives up for subprotocols that are none', async () => {
    const page = await open()
    await startSocket(page, { ...quick, protocols: ['not one'] })
    expect(await closedWith(page)).toBe('internal_error')
  })
})
