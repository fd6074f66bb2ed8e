import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { WebSocket } from 'ws'
import { startExampleApi, type ExampleApi } from '../../spa-example/api/server.ts'
import { startAuthorizationServer, type AuthorizationServer } from '../../spa-example/authorization-server/server.ts'
import { createEventStreamParser, type ServerEvent } from '../../spa-example/client/src/event-stream.ts'
import { until } from '../support/until.ts'
import { AUDIENCE, discover, login, REDIRECT_URI } from './code-flow.ts'

let server: AuthorizationServer
let api: ExampleApi
let tokens: Record<'all' | 'read' | 'none', string>
const open: AbortController[] = []
const sockets: WebSocket[] = []

beforeAll(async () => {
  server = await startAuthorizationServer({ clients: { redirectUris: [REDIRECT_URI] }, apiAudience: AUDIENCE })
  const config = await discover(server, 'secret')
  const tokenFor = async (scope: string): Promise<string> =>
    (await login(config, { parameters: { scope } })).access_token
  tokens = {
    all: await tokenFor('openid orders:read orders:write'),
    read: await tokenFor('openid orders:read'),
    none: await tokenFor('openid'),
  }
})
beforeEach(async () => {
  api = await startExampleApi({ issuer: server.issuer, audience: AUDIENCE })
})
afterEach(async () => {
  for (const controller of open.splice(0)) controller.abort()
  for (const socket of sockets.splice(0)) socket.terminate()
  await api.close()
})
afterAll(() => server.close())

function call(method: string, path: string, body?: object, token = tokens.all): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return fetch(api.url + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
}

const order = (item: string): Promise<Response> => call('POST', '/api/orders', { item, quantity: 1 })

/** Listens to the event stream; resolves when the API has begun to answer. */
async function listen(lastEventId?: string): Promise<ServerEvent[]> {
  const controller = new AbortController()
  open.push(controller)
  const headers = {
    authorization: `Bearer ${tokens.read}`,
    ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
  }
  const response = await fetch(`${api.url}/api/events`, { headers, signal: controller.signal })
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const heard: ServerEvent[] = []
  const parser = createEventStreamParser('', (event) => heard.push(event))
  const read = async (): Promise<void> => {
    for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) parser.push(text)
  }
  read().catch(() => undefined)
  return heard
}

async function connect(token = tokens.read): Promise<{ socket: WebSocket; heard: unknown[] }> {
  const socket = new WebSocket(`${api.url}/api/feed`, ['feed.v1'], { headers: { authorization: `Bearer ${token}` } })
  sockets.push(socket)
  const heard: unknown[] = []
  socket.on('message', (data: Buffer) => heard.push(JSON.parse(data.toString())))
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  return { socket, heard }
}

describe('the feed of the example API', () => {
  it('tells an event stream what happens, and goes on after the last event that it heard', async () => {
    const heard = await listen()
    await order('Tea')
    await order('Ink')
    await until('two events', () => heard.length === 2)
    expect(heard.map(({ type, lastEventId }) => [type, lastEventId])).toEqual([
      ['order', '1'],
      ['order', '2'],
    ])
    expect(JSON.parse(heard[0]?.data ?? '')).toMatchObject({ id: 1, item: 'Tea' })
    const later = await listen('1')
    await until('the event that was missed', () => later.length === 1)
    expect(later[0]?.lastEventId).toBe('2')
  })

  it('tells a WebSocket the same, and takes notes from it', async () => {
    const stream = await listen()
    const { socket, heard } = await connect()
    expect(socket.protocol).toBe('feed.v1')
    await order('Tea')
    socket.send('hello')
    await until('both events', () => heard.length === 2 && stream.length === 2)
    expect(heard).toEqual([
      { id: 1, type: 'order', data: expect.objectContaining({ item: 'Tea' }) },
      { id: 2, type: 'note', data: { text: 'hello' } },
    ])
    expect(stream[1]?.data).toBe('{"text":"hello"}')
  })

  it.each<[string, string | Buffer]>([
    ['nothing', ' '],
    ['too much', 'x'.repeat(201)],
    ['bytes', Buffer.from([1])],
  ])('closes a WebSocket that sends %s', async (_name, data) => {
    const { socket, heard } = await connect()
    const code = new Promise((resolve) => socket.on('close', resolve))
    socket.send(data)
    expect(await code).toBe(1008)
    expect(heard).toEqual([])
  })

  it('is for who may read orders', async () => {
    expect((await call('GET', '/api/events', undefined, tokens.none)).status).toBe(403)
    await expect(connect(tokens.none)).rejects.toThrow('403')
    await expect(connect('none')).rejects.toThrow('401')
  })

  it('ends with the API, WebSockets too', async () => {
    const { socket } = await connect()
    await listen()
    const gone = new Promise((resolve) => socket.on('close', resolve))
    await api.close()
    expect(await gone).toBe(1006)
  })
})

describe('a cancellation', () => {
  it('is the same however often it is asked for', async () => {
    await order('Tea')
    const heard = await listen()
    const first = await call('PUT', '/api/cancellations/1')
    const { cancelled_at: cancelledAt } = (await first.json()) as { cancelled_at: string }
    expect([first.status, cancelledAt]).toEqual([200, expect.any(String)])
    expect(await (await call('PUT', '/api/cancellations/1')).json()).toMatchObject({ cancelled_at: cancelledAt })
    await order('Ink')
    await until('the later event', () => heard.length >= 2)
    expect(heard.map(({ type }) => type)).toEqual(['cancellation', 'order'])
  })

  it.each<[string, string, number]>([
    ['of no order', '/api/cancellations/7', 404],
    ['of no number', '/api/cancellations/x', 404],
    ['of everything', '/api/cancellations', 404],
  ])('%s is none', async (_name, path, status) => {
    expect((await call('PUT', path)).status).toBe(status)
  })

  it('needs the scope that orders need', async () => {
    await order('Tea')
    expect((await call('PUT', '/api/cancellations/1', undefined, tokens.read)).status).toBe(403)
  })
})
