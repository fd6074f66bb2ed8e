import { afterEach, describe, expect, it } from '@jest/globals'
import { Canaries } from '../support/canary.ts'
import { answerText } from '../support/upstream.ts'
import { startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

describe('the log of the OAuth Proxy', () => {
  let proxy: ProxyUnderTest
  afterEach(() => proxy.close())

  it.each([
    ['GET /api/../x', [], 'invalid_request', undefined],
    ['GET /other', [], 'not_found', undefined],
    ['TRACE /api/x', [], 'method_not_allowed', '/api'],
    ['GET /api/x', ['Sec-Purpose: prefetch'], 'untrusted_destination', '/api'],
    ['GET /api/admin/x', [], 'insufficient_scope', '/api/admin'],
    ['GET /api/x', ['Connection: cookie'], 'invalid_request', '/api'],
  ])('[D-OPS-06] has one line for a refused %s', async (requestLine, headers, code, route) => {
    proxy = await startProxy({ routes: [{}, { path: '/api/admin', scopes: ['admin'] }] })
    const answer = await proxy.call(requestLine, headers)
    expect(answer.json().code).toBe(code)
    const requestId = answer.values('x-request-id')[0]
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/)
    expect(proxy.log).toEqual([
      {
        level: 'info',
        fields: {
          event: 'request_refused',
          code,
          status: answer.status,
          method: requestLine.split(' ')[0],
          route,
          id: requestId,
        },
      },
    ])
  })

  it('[D-OPS-06] takes no id from a client', async () => {
    proxy = await startProxy()
    const answer = await proxy.call('GET /other', ['X-Request-Id: chosen-by-client'])
    expect(answer.values('x-request-id')[0]).not.toBe('chosen-by-client')
    expect(JSON.stringify(proxy.log)).not.toContain('chosen')
  })

  it('has no line for a request that is served', async () => {
    proxy = await startProxy()
    await proxy.call('GET /api/x')
    expect(proxy.log).toEqual([])
  })

  it('[D-OPS-03] [A-33] holds no token, cookie, path, query or body, and answers hold none either', async () => {
    const canaries = new Canaries()
    const answers = ['nonsense', answerText('{}'), 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort']
    proxy = await startProxy({
      routes: [{ responseTimeoutSeconds: 1 }],
      script: {
        onRequest: (_request, socket) => {
          const answer = answers.pop()
          if (answer?.endsWith('short') === true) setImmediate(() => socket.end())
          if (answer === undefined) socket.destroy()
          return answer
        },
      },
    })
    canaries.watch('access token', proxy.session.accessToken)
    canaries.watch('sid', proxy.session.sid)
    canaries.watch('sealed cookie', proxy.session.cookie.slice(-60))
    const secret = canaries.mark('path')
    const query = canaries.mark('query')
    const body = canaries.mark('body')
    const header = canaries.mark('header')
    const seen: string[] = []
    for (const target of [`/api/${secret}?q=${query}`, `/api/../${secret}`, `/${secret}`, `/api/%zz${secret}`]) {
      for (let call = 0; call < 3; call++) {
        const headers = [`X-Own: ${header}`, `Authorization: Bearer ${header}`, `Content-Length: ${body.length}`]
        seen.push((await proxy.call(`POST ${target}`, headers, body)).raw)
      }
    }
    seen.push((await proxy.call(`GET /api/${secret}?q=${query}`)).raw)
    expect(proxy.log.length).toBeGreaterThan(5)
    expect(canaries.find(proxy.log, seen)).toEqual([])
  })
})
