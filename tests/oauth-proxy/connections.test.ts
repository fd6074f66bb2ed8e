import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { Client } from 'undici'
import { Connections, type ResponseHandler } from '../../oauth-proxy/src/connections.ts'
import { until } from '../support/until.ts'
import { answerText, startUpstream, type Upstream } from '../support/upstream.ts'

let upstream: Upstream
let connections: Connections
let opened: Client[]
/** How often one said that it can take another request. */
let freed: number
let failures: Error[]

beforeEach(async () => {
  opened = []
  freed = 0
  failures = []
  upstream = await startUpstream()
  connections = new Connections(
    () => {
      const client = new Client(upstream.origin, { pipelining: 1, allowH2: false })
      opened.push(client)
      client.on('drain', () => freed++)
      return client
    },
    (error) => failures.push(error),
  )
})

afterEach(async () => {
  await connections.close(0)
  await upstream.close()
})

const request = { path: '/', method: 'GET' } as const

/** Tells how a request ended. */
function ending(changes: Partial<ResponseHandler> = {}): ResponseHandler & { readonly end: Promise<string> } {
  const { promise, resolve } = Promise.withResolvers<string>()
  return {
    end: promise,
    onRequestStart: () => undefined,
    onResponseStart: () => undefined,
    onResponseData: () => undefined,
    onResponseEnd: () => resolve('whole'),
    onResponseError: (_controller, error) => resolve(error.name),
    ...changes,
  }
}

describe('connections to an API', () => {
  it.each<[what: string, end: string, answer: string | undefined, changes: Partial<ResponseHandler>]>([
    ['an answer', 'whole', answerText('{}'), {}],
    ['an answer that ends the connection', 'whole', answerText('{}', { headers: ['Connection: close'] }), {}],
    ['garbage', 'HTTPParserError', 'garbage\r\n\r\n', {}],
    [
      'a request that is given up before it was sent',
      'Error',
      undefined,
      { onRequestStart: (controller) => controller.abort(new Error('gone')) },
    ],
    [
      'an answer that is given up',
      'Error',
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf',
      { onResponseData: (controller) => controller.abort(new Error('gone')) },
    ],
  ])('carry the next request after %s', async (_what, end, answer, changes) => {
    upstream.script = { onRequest: () => answer }
    for (let round = 0; round < 3; round++) {
      const handler = ending(changes)
      connections.dispatch(request, handler)
      expect(await handler.end).toBe(end)
      await until('a free connection', () => freed === round + 1)
    }
    expect(opened).toHaveLength(1)
  })

  it('are tried again when none came about', async () => {
    await upstream.close()
    for (let round = 0; round < 3; round++) {
      const handler = ending()
      connections.dispatch(request, handler)
      expect(await handler.end).toBe('Error')
      await until('a free connection', () => freed === round + 1)
    }
    expect(opened).toHaveLength(1)
    upstream = await startUpstream()
  })

  it('carry one request at a time, whatever came before', async () => {
    upstream.script = { onRequest: () => undefined }
    const givenUp = ending({ onRequestStart: (controller) => controller.abort(new Error('gone')) })
    connections.dispatch(request, givenUp)
    await until('a free connection', () => freed === 1)
    connections.dispatch(request, givenUp)
    for (let held = 0; held < 3; held++) connections.dispatch(request, ending())
    await until('the requests', () => upstream.requests.length === 3)
    for (let held = 0; held < 3; held++) connections.dispatch(request, ending())
    await until('more requests', () => upstream.requests.length === 6)
    const busy = upstream.connections.filter(({ received }) => received !== '')
    expect(busy.map(({ received }) => received.match(/GET/g)?.length)).toEqual(Array(6).fill(1))
  })

  it('are as many as there are streams, and one more for all short requests in turn', async () => {
    upstream.script = {
      onRequest: ({ target }) => (target === '/stream' ? 'HTTP/1.1 200 OK\r\n\r\n' : answerText('{}')),
    }
    for (let stream = 0; stream < 20; stream++) connections.dispatch({ ...request, path: '/stream' }, ending())
    await until('the streams', () => upstream.requests.length === 20)
    for (let round = 0; round < 10; round++) {
      const handler = ending()
      connections.dispatch(request, handler)
      expect(await handler.end).toBe('whole')
      await until('a free connection', () => freed === round + 1)
    }
    expect(opened).toHaveLength(21)
  })

  it('take nothing once they are closed', async () => {
    const closed = connections.close(0)
    const late = ending()
    connections.dispatch(request, late)
    expect(await late.end).toBe('ClientClosedError')
    await closed
    expect(opened).toEqual([])
  })

  it('outlive a handler that fails when it is told of an error', async () => {
    upstream.script = { onRequest: () => 'garbage\r\n\r\n' }
    const failing = (): never => {
      throw new Error('a defect')
    }
    connections.dispatch(request, ending({ onResponseError: failing }))
    await until('the failure', () => failures.some(({ message }) => message === 'a defect'))
    upstream.script = {}
    const next = ending()
    connections.dispatch(request, next)
    expect(await next.end).toBe('whole')
  })
})
