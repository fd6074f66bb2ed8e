import { describe, expect, it } from '@jest/globals'
import { corsHeaders, isPreflight, preflightHeaders } from '@token-handler/shared'

const trusted = new Set(['https://www.app.example', 'https://admin.app.example:8443'])

describe('CORS headers', () => {
  it('allow a trusted origin, with credentials, to read the answer and two headers of it', () => {
    for (const origin of trusted) {
      expect(corsHeaders(origin, trusted)).toEqual({
        vary: 'Origin',
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': 'Retry-After, WWW-Authenticate',
      })
    }
  })

  it.each([
    undefined,
    '',
    'null',
    '*',
    'https://evil.example',
    'https://www.app.example.evil.example',
    'https://evil-www.app.example',
    'https://app.example',
    'http://www.app.example',
    'https://www.app.example:443',
    'https://www.app.example:8443',
    'https://www.app.example/',
    'https://www.app.example.',
    'https://WWW.app.example',
    'https://user@www.app.example',
    'https://www.app.example, https://www.app.example',
    'https://www.app.example https://admin.app.example:8443',
    '__proto__',
  ])('[A-16] [D-CS-03] allow %j nothing, and say that the answer depends on Origin', (origin) => {
    expect(corsHeaders(origin, trusted)).toEqual({ vary: 'Origin' })
  })
})

describe('a preflight', () => {
  const asks = { origin: 'https://www.app.example', 'access-control-request-method': 'POST' }

  it('is an OPTIONS request with Origin and a method to ask for', () => {
    expect(isPreflight('OPTIONS', asks)).toBe(true)
    expect(isPreflight('GET', asks)).toBe(false)
    expect(isPreflight('OPTIONS', { origin: asks.origin })).toBe(false)
    expect(isPreflight('OPTIONS', { 'access-control-request-method': 'POST' })).toBe(false)
  })

  it('is answered with the methods and the headers asked for, for ten minutes', () => {
    expect(preflightHeaders(['GET', 'POST'], 'content-type, token-handler-version')).toEqual({
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'content-type, token-handler-version',
      'access-control-max-age': '600',
      vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    })
    expect(preflightHeaders(['GET'], undefined)).not.toHaveProperty('access-control-allow-headers')
  })

  it.each(['', ',', 'a b', 'x\r\nset-cookie: a=1', 'a;b', 'é', 'a,,b', 'x'.repeat(1025)])(
    '[D-HDR-09] does not repeat %j as header names',
    (requested) => {
      expect(preflightHeaders(['GET'], requested)).not.toHaveProperty('access-control-allow-headers')
    },
  )

  it('[D-CS-09] opens no private network and no timing', () => {
    const headers = { ...corsHeaders(asks.origin, trusted), ...preflightHeaders(['GET'], 'x') }
    expect(Object.keys(headers)).not.toContain('access-control-allow-private-network')
    expect(Object.keys(headers)).not.toContain('timing-allow-origin')
  })
})
