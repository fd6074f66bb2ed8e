import dns from 'node:dns'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as openid from 'openid-client'
import { createLogger, describeError, TokenHandlerError } from '@token-handler/shared'
import { Canaries } from '../support/canary.ts'

const canaries = new Canaries()
const token = canaries.mark('access-token')
const jwt = canaries.watch(
  'jwt',
  `eyJhbGciOiJSUzI1NiJ9.${Buffer.from('{"sub":"alice"}').toString('base64url')}.c2lnbmF0dXJl`,
)
/** Short enough to look like a word. */
const code = canaries.watch('code', 'Zx9-kQ7p')

function thrownBy(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** The lines that a logger writes. */
function logged(error: unknown): string {
  const lines: string[] = []
  const logger = createLogger('debug', { write: (line) => void lines.push(line) })
  logger.error({ event: 'failed', error: describeError(error) }, 'Failed.')
  return lines.join('')
}

describe('an error in the log', () => {
  it('says what it is, where it came from, and what caused it', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:3100'), { code: 'ECONNREFUSED' })
    const fields = describeError(new TokenHandlerError('authorization_server_error', { cause }))
    expect(fields).toMatchObject({
      type: 'TokenHandlerError',
      code: 'authorization_server_error',
      status: 502,
      message: 'The authorization server gave no usable answer.',
      cause: { type: 'Error', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED 127.0.0.1:3100' },
    })
    expect(fields.stack).toContain('logger.test.ts')
    expect(fields.stack).not.toContain('usable answer')
  })

  it('keeps what is no secret', () => {
    for (const text of [
      'Invalid character in header content ["authorization"]',
      '"response" body "access_token" property must be a string',
      'getaddrinfo ENOTFOUND as.example',
      'certificate_file: cannot be used (ERR_OSSL_PEM_NO_START_LINE)',
      "Cannot read properties of undefined (reading 'sid')",
    ]) {
      expect(describeError(new TypeError(text)).message).toBe(text)
    }
  })

  it('tells the host and the file of an error of the system, however long their names are', async () => {
    const host = 'token-handler-redis-headless.example.invalid'
    const lookup = await dns.promises.lookup(host).catch((error: unknown) => error)
    expect(describeError(lookup)).toMatchObject({ hostname: host })
    const path = '/nowhere/token-handler-production/keys.json'
    expect(describeError(thrownBy(() => readFileSync(path)))).toMatchObject({ code: 'ENOENT', path })
    // Nothing of that kind is taken from an error of anybody else.
    expect(describeError(Object.assign(new Error('x'), { hostname: token, path: jwt }))).toEqual({
      type: 'Error',
      message: 'x',
      stack: expect.any(String),
    })
  })

  it.each<[string, () => unknown]>([
    ['a token in its message', () => new Error(`bad token ${token}`)],
    ['a JWT in its message', () => new Error(`bad token ${jwt}!`)],
    ['a token in base64', () => new Error(Buffer.from(`x${token}`).toString('base64'))],
    ['a token in percent encoding', () => new Error(encodeURIComponent(`${token} ${token}`))],
    ['a token after many words', () => new Error(`${'word '.repeat(59)}${token}`)],
    ['a query in its message', () => new Error(`GET https://as.example/authorize?code=${code}&state=1 failed`)],
    ['a fragment in its message', () => new Error(`https://app.example/callback#access_token=${code}`)],
    ['a password in its message', () => new Error(`https://client:${code}@as.example/token refused`)],
    ['a quoted value in its message', () => new Error(`unexpected "${code}" here`)],
    ['a quoted value without an end', () => new Error(`unexpected "${code} ${'x '.repeat(300)}`)],
    ['a token on a line that looks like a stack frame', () => new Error(`x\n    at ${token} (${jwt})`)],
    ['text that is no JSON', () => thrownBy(() => JSON.parse(code))],
    ['text that is no JSON any more', () => thrownBy(() => JSON.parse(`{"access_token":"a" "${code}"}`))],
    ['a header value', () => thrownBy(() => new Headers({ authorization: `Bearer ${code}\nx` }))],
    ['an address', () => thrownBy(() => new URL(`callback?code=${code}`))],
    ['a cause', () => new Error('outer', { cause: new Error('middle', { cause: new Error(`inner ${token}`) }) })],
    ['parameters for a cause', () => new Error('refused', { cause: new URLSearchParams({ code, state: code }) })],
    ['a body for a cause', () => new Error('refused', { cause: { access_token: code } })],
    [
      'a response for a cause',
      () => new Error('refused', { cause: new Response(code, { headers: { 'x-token': code } }) }),
    ],
    ['text for a cause', () => new Error('refused', { cause: `the body was "${code}" and ${token}` })],
    ['an OAuth error that is a secret', () => Object.assign(new Error('refused'), { error: token })],
    ['a short OAuth error that is a secret', () => Object.assign(new Error('refused'), { error: code })],
    [
      'an error description',
      () => Object.assign(new Error('refused'), { error: 'invalid_grant', error_description: token }),
    ],
    ['a code that is a secret', () => Object.assign(new Error('refused'), { code })],
    [
      'members of all kinds',
      () => Object.assign(new Error('refused'), { request: { headers: { cookie: token } }, body: jwt }),
    ],
    ['no error at all: text', () => token],
    ['no error at all: an address', () => new URL(`https://app.example/callback?code=${code}`)],
    ['no error at all: parameters', () => new URLSearchParams({ code })],
    ['no error at all: an object with its own words', () => ({ toString: () => code, message: code })],
    ['no error at all: an object without a prototype', () => Object.assign(Object.create(null) as object, { code })],
  ])('[D-OPS-03] [A-33] shows no secret when it has %s', (_, make) => {
    const text = logged(make())
    expect(text).toContain('"event":"failed"')
    expect(canaries.find(text)).toEqual([])
  })

  it('keeps the registered OAuth errors', () => {
    for (const error of ['invalid_grant', 'temporarily_unavailable', 'unsupported_response_type']) {
      expect(describeError(Object.assign(new Error('refused'), { error })).oauthError).toBe(error)
    }
  })

  it('ends where causes go in circles', () => {
    const error = new Error('round')
    error.cause = error
    expect(JSON.stringify(describeError(error)).match(/"message":"round"/g)).toHaveLength(4)
  })

  it.each([undefined, null, 0, Symbol('x'), () => code])('survives %p', (value) => {
    expect(canaries.find(logged(value))).toEqual([])
  })

  it('[D-LIM-08] takes a message of any size and shape in time that grows no faster than it', () => {
    const start = performance.now()
    for (const unit of ['a', 'a.', '"', '%', '//', '?', ' ', 'a/', '-'.repeat(19) + '.']) {
      describeError(new Error(unit.repeat(1_000_000)))
    }
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})

describe('what openid-client throws', () => {
  let server: Server
  let answer: { status: number; type: string; body: string; headers?: Record<string, string> }
  let configuration: openid.Configuration

  beforeAll(async () => {
    server = createServer((_req, res) => {
      res.writeHead(answer.status, { 'content-type': answer.type, ...answer.headers }).end(answer.body)
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    configuration = new openid.Configuration(
      { issuer, token_endpoint: `${issuer}/token` },
      'client',
      canaries.mark('client-secret'),
    )
    openid.allowInsecureRequests(configuration)
  })

  afterAll(() => void server.close())

  it.each<[string, typeof answer]>([
    [
      'an OAuth error',
      {
        status: 400,
        type: 'application/json',
        body: JSON.stringify({ error: 'invalid_grant', error_description: token, x: code }),
      },
    ],
    [
      'an OAuth error that is a secret',
      { status: 400, type: 'application/json', body: JSON.stringify({ error: token }) },
    ],
    ['garbage', { status: 200, type: 'application/json', body: code }],
    ['broken JSON', { status: 200, type: 'application/json', body: `{"access_token":"${token}` }],
    ['HTML', { status: 200, type: 'text/html', body: `<p>${token}` }],
    [
      'an unknown token type',
      { status: 200, type: 'application/json', body: JSON.stringify({ access_token: token, token_type: code }) },
    ],
    [
      'an access token that is none',
      {
        status: 200,
        type: 'application/json',
        body: JSON.stringify({ access_token: { token }, token_type: 'bearer' }),
      },
    ],
    [
      'an ID token that is none',
      {
        status: 200,
        type: 'application/json',
        body: JSON.stringify({ access_token: token, token_type: 'bearer', id_token: `${code}.${jwt}` }),
      },
    ],
    [
      'a challenge',
      {
        status: 401,
        type: 'text/plain',
        body: token,
        headers: { 'www-authenticate': `Basic realm="${code}", error="${token}"` },
      },
    ],
    [
      'a redirect',
      { status: 302, type: 'text/plain', body: token, headers: { location: `https://as.example/?code=${code}` } },
    ],
    ['a failure', { status: 500, type: 'text/plain', body: token }],
  ])('[D-OPS-03] [B-TK-11] is logged without a secret after %s', async (_, given) => {
    answer = given
    const error: unknown = await openid.refreshTokenGrant(configuration, canaries.mark('refresh-token')).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(Error)
    expect(canaries.find(logged(error))).toEqual([])
  })
})

describe('the log', () => {
  it('[D-OPS-03] [F-MO-4] writes one line an event, whatever is in it', () => {
    const lines: string[] = []
    const logger = createLogger('info', { write: (line) => void lines.push(line) })
    logger.info({ path: 'a\r\nb\u2028{"level":50}%s%n' }, 'Line\nfeed %s%d%n%o')
    logger.debug({}, 'not at this level')
    expect(lines).toHaveLength(1)
    expect(lines[0]?.match(/[\r\n]/g)).toEqual(['\n'])
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 30,
      path: 'a\r\nb\u2028{"level":50}%s%n',
      msg: 'Line\nfeed %s%d%n%o',
    })
  })

  it('is empty when it is silent', () => {
    const lines: string[] = []
    createLogger('silent', { write: (line) => void lines.push(line) }).error({}, 'x')
    expect(lines).toEqual([])
  })
})
