import { describe, expect, it } from '@jest/globals'
import { Canaries, findJwts } from './canary.ts'

const encode = (text: string): string => Buffer.from(text).toString('base64url')

describe('canaries', () => {
  const canaries = new Canaries()
  const secret = canaries.mark('refresh-token')

  it.each([
    ['plain', `before ${secret} after`, 'plain'],
    ['percent-encoded', Buffer.from(secret).toString('hex').replace(/../g, '%$&'), 'url'],
    ['in JSON escapes', `\\u0063${secret.slice(1)}`, 'json'],
    ['in hex', Buffer.from(secret).toString('hex'), 'hex'],
    ['in base64', Buffer.from(secret).toString('base64'), 'base64'],
    ['in base64url with one byte before', encode(`x${secret}`), 'base64'],
    ['in base64url with two bytes before', encode(`xx${secret}`), 'base64'],
    ['in base64url behind a letter that is none of it', `Q${encode(secret)}`, 'base64'],
    ['in a cookie', `__Host-a=${encode(JSON.stringify({ value: secret }))}; Path=/`, 'base64'],
    ['in base64 of base64', encode(`x${encode(secret)}`), 'base64 > base64'],
    [
      'in percent-encoded base64',
      encodeURIComponent(`${Buffer.from(`${secret}?`).toString('base64')}==`),
      'url > base64',
    ],
  ])('are found %s', (_where, text, encoding) => {
    expect(canaries.find(text)).toEqual([{ label: 'refresh-token', encoding }])
  })

  it.each([
    ['headers', new Headers({ 'x-debug': secret })],
    ['raw headers', ['Set-Cookie', `a=${secret}`]],
    ['nested objects', { a: [{ b: secret }] }],
    ['names of members', { [secret]: 1 }],
    ['bytes', Buffer.from(`\u0001${secret}`)],
    ['maps', new Map([['a', secret]])],
    ['causes of errors', new Error('outer', { cause: new Error(secret) })],
  ])('are found in %s', (_where, place) => {
    expect(canaries.find('nothing here', place)).toHaveLength(1)
  })

  it('are not found where they are not', () => {
    const sealed = encode(JSON.stringify({ alg: 'dir', enc: 'A256GCM' })) + '..' + 'A'.repeat(3000)
    expect(
      canaries.find(sealed, { a: null, b: undefined, c: 3, d: true }, 'canary-refresh-token-', 'x'.repeat(20_000)),
    ).toEqual([])
  })

  it('count parts of a JWT too, by name', () => {
    const jwts = new Canaries()
    const token = jwts.watch(
      'access token',
      `${encode('{"alg":"ES256"}')}.${encode('{"sub":"demo"}')}.${encode('signature-bytes')}`,
    )
    const [, payload, signature] = token.split('.')
    expect(jwts.find(token).map(({ label }) => label)).toHaveLength(3)
    expect(jwts.find(payload)).toEqual([{ label: 'access token (payload)', encoding: 'plain' }])
    expect(jwts.find(signature)).toEqual([{ label: 'access token (signature)', encoding: 'plain' }])
  })

  it('do not repeat the secret in what they report', () => {
    expect(JSON.stringify(canaries.find(secret))).not.toContain(secret)
  })

  it('refuse a place that would always look clean', () => {
    expect(() => canaries.find(new Response(secret))).toThrow(TypeError)
    expect(() => canaries.find({ later: Promise.resolve(secret) })).toThrow(TypeError)
  })

  it('refuse to look for what would be found everywhere', () => {
    expect(() => new Canaries().watch('code', 'abc')).toThrow(RangeError)
  })
})

describe('findJwts', () => {
  const jwt = `${encode('{"alg":"ES256","typ":"at+jwt"}')}.${encode('{"sub":"demo"}')}.${encode('signature')}`

  it('finds signed tokens, and unsigned ones', () => {
    expect(findJwts(`Bearer ${jwt}`, { a: `x=${jwt}; y` })).toEqual([jwt, jwt])
    expect(findJwts(`${encode('{"alg":"none"}')}.${encode('{}')}.`)).toHaveLength(1)
  })

  it('takes neither a JWE nor a host name for one', () => {
    const jwe = [
      encode('{"alg":"dir","enc":"A256GCM"}'),
      '',
      'iviviviviviviviv',
      'ciphertext',
      'tagtagtagtagtagtagta_w',
    ].join('.')
    expect(findJwts(jwe, 'authorization.example.com', '1.2.3')).toEqual([])
  })
})
