import { afterEach, describe, expect, it } from '@jest/globals'
import { openClient } from '../support/raw-client.ts'
import { until } from '../support/until.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

describe('stopping', () => {
  let proxy: ProxyUnderTest
  afterEach(() => proxy.close())

  it('[D-LIM-10] lets requests under way finish and answers new ones 503 shutting_down', async () => {
    let answer = (): void => {}
    proxy = await startProxy({
      script: {
        onRequest: (_request, socket) => {
          answer = () => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone')
          return undefined
        },
      },
    })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/x'))
    await until('the request', () => proxy.upstream.requests.length === 1)
    const closed = proxy.proxy.close()
    const late = await proxy.call('GET /api/y')
    expect(late.status).toBe(503)
    expect(late.json().code).toBe('shutting_down')
    expect(late.values('retry-after')).toEqual(['1'])
    answer()
    expect((await client.answer()).body).toBe('done')
    await closed
    client.destroy()
  })

  it('[D-LIM-10] cuts what does not end in time', async () => {
    proxy = await startProxy({ script: { onRequest: () => 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha' } })
    const client = await openClient(proxy.port)
    client.send(proxy.bytes('GET /api/x'))
    await client.receives('ha')
    await proxy.proxy.close(50)
    await client.closed()
    expect(client.received.endsWith('ha')).toBe(true)
    await until('no connection', () => proxy.upstream.connections.every(({ isOpen }) => !isOpen))
  })
})
