import { once } from 'node:events'
import { afterEach, describe, expect, it } from '@jest/globals'
import { openClient, type RawClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { answerText, type Script } from '../support/upstream.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

let proxy: ProxyUnderTest
const clients: RawClient[] = []
const timers: NodeJS.Timeout[] = []
afterEach(async () => {
  for (const timer of timers.splice(0)) clearInterval(timer)
  for (const client of clients.splice(0)) client.destroy()
  await proxy.close()
})

/** Sends the head of a request with a body, and the beginning of that. */
async function upload(length: number, body: string): Promise<RawClient> {
  const client = await openClient(proxy.port)
  clients.push(client)
  client.send(proxy.bytes('POST /api/upload', [`Content-Length: ${length}`]) + body)
  return client
}

describe('bodies that come slowly', () => {
  const start = async (script?: Script): Promise<void> => {
    proxy = await startProxy({ options: { maxWaitingRequests: 2 }, ...(script === undefined ? {} : { script }) })
  }
  const dripInto = (client: RawClient): void => void timers.push(setInterval(() => client.send('x'), 50))
  const arrived = (count: number): Promise<void> =>
    until('the uploads', () => proxy.upstream.received().split('POST /api/upload').length === count + 1)
  const uploadAll = async (): Promise<string> => {
    const answer = await proxy.call('POST /api/x', ['Content-Length: 2'], 'ok')
    return answer.status === 200 ? '200' : `${answer.status} ${answer.json().code}`
  }

  it('[D-LIM-01] keep nobody from asking the API for something', async () => {
    await start()
    await Promise.all([upload(1000, 'x'), upload(1000, 'x')])
    await arrived(2)
    for (let call = 0; call < 4; call++) expect((await proxy.call('GET /api/x')).status).toBe(200)
  })

  it('[D-LIM-01] end when others want to send, the one that was quiet the longest first', async () => {
    await start()
    const [quiet, sending] = [await upload(1000, 'x'), await upload(40, 'x')]
    dripInto(sending)
    await arrived(2)
    // Who sends at all is not quiet for a second.
    expect(await uploadAll()).toBe('503 upstream_overloaded')
    await until('room', async () => (await uploadAll()) === '200')
    const cut = await quiet.answer()
    expect([cut.status, cut.json().code]).toEqual([408, 'request_timeout'])
    expect((await sending.answer()).status).toBe(200)
  })

  it('are not cut off while they move', async () => {
    await start()
    const both = await Promise.all([upload(60, 'x'), upload(60, 'x')])
    for (const client of both) dripInto(client)
    await arrived(2)
    const outcomes = new Set<string>()
    for (let call = 0; call < 20; call++) {
      outcomes.add(await uploadAll())
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    expect([...outcomes]).toEqual(['503 upstream_overloaded'])
    for (const client of both) expect((await client.answer()).status).toBe(200)
    expect(await uploadAll()).toBe('200')
  })

  it('are not the fault of their clients where the API takes nothing', async () => {
    await start({ onHead: (head, socket) => void (head.startsWith('POST /api/upload') && socket.pause()) })
    const size = 20_000_000
    const both = await Promise.all([upload(size, 'x'.repeat(size)), upload(size, 'x'.repeat(size))])
    await arrived(2)
    const outcomes = new Set<string>()
    const until1500ms = performance.now() + 1500
    while (performance.now() < until1500ms) outcomes.add(await uploadAll())
    expect([...outcomes]).toEqual(['503 upstream_overloaded'])
    expect(both.map(({ received, isClosed }) => [received, isClosed])).toEqual([
      ['', false],
      ['', false],
    ])
  })

  it('give their places back, however they end', async () => {
    await start()
    for (let round = 0; round < 3; round++) {
      const both = await Promise.all([upload(1000, 'x'), upload(1000, 'x')])
      await arrived(2 * round + 2)
      expect(await uploadAll()).toBe('503 upstream_overloaded')
      for (const client of both) client.destroy()
      await until('room', async () => (await uploadAll()) === '200')
    }
  })
})

describe('a body that takes longer than a request may', () => {
  async function start(minBodyBytesPerSecond: number | undefined, script?: Script): Promise<void> {
    proxy = await startProxy({
      server: { headersTimeout: 300, requestTimeout: 600, connectionsCheckingInterval: 20 },
      routes: [{ minBodyBytesPerSecond }],
      ...(script === undefined ? {} : { script }),
    })
  }
  /** Sends a piece now and then until all of it is there. */
  function drip(client: RawClient, length: number, piece: string): void {
    let left = length
    const timer = setInterval(() => {
      const next = piece.slice(0, left)
      left -= next.length
      if (next === '') clearInterval(timer)
      else client.send(next)
    }, 20)
    timers.push(timer)
  }

  it('[D-LIM-01] goes on for as long as it comes fast enough; the next request of its connection has a time of its own', async () => {
    await start(500)
    const client = await upload(10_000, '')
    const isOverdue = once(proxy.server, 'clientError')
    drip(client, 10_000, 'x'.repeat(100))
    await isOverdue
    expect(proxy.upstream.requests).toHaveLength(0)
    expect((await client.answer()).status).toBe(200)
    expect(proxy.upstream.requests[0]?.body).toHaveLength(10_000)
    client.send(proxy.bytes('POST /api/upload', ['Content-Length: 1000']))
    expect((await client.answer()).status).toBe(408)
    expect(proxy.upstream.requests).toHaveLength(1)
  })

  it('[D-LIM-01] is answered 408 once it comes too slowly, however fast it came before', async () => {
    await start(undefined)
    const client = await upload(1_000_000, 'x'.repeat(10_000))
    await until('its first bytes', () => proxy.upstream.received().endsWith('x'))
    drip(client, 1_000_000, 'x')
    const answer = await client.answer()
    expect([answer.status, answer.json().code]).toEqual([408, 'request_timeout'])
    expect(answer.values('x-request-id')).toHaveLength(1)
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect(proxy.upstream.requests).toHaveLength(0)
  })

  it('is not slow where the API takes nothing', async () => {
    const size = 20_000_000
    await start(1, {
      onHead: (head, socket) => void (head.startsWith('POST') && socket.pause()),
      onRequest: () => answerText('others are served'),
    })
    const isOverdue = once(proxy.server, 'clientError')
    const client = await upload(size, 'x'.repeat(size))
    await isOverdue
    const until1000ms = performance.now() + 1000
    while (performance.now() < until1000ms) expect((await proxy.call('GET /api/x')).status).toBe(200)
    expect([client.received, client.isClosed]).toEqual(['', false])
  })

  it('lets the API go with its client', async () => {
    await start(1)
    const client = await upload(1_000_000, 'x'.repeat(1000))
    const isOverdue = once(proxy.server, 'clientError')
    drip(client, 1_000_000, 'xx')
    await isOverdue
    client.socket.resetAndDestroy()
    await until('the end of the call', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
    expect(proxy.log).toEqual([])
  })
})
