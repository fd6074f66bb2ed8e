import { describe, expect, it } from '@jest/globals'
import { CookieJar } from './cookie-jar.ts'

const SITE = 'https://app.example.com/oauth-agent/login/end'
const HOST_HTTP = 'Path=/; Secure; HttpOnly; SameSite=Strict'

function stored(line: string, url = SITE): string {
  const jar = new CookieJar()
  jar.store(url, [line])
  return jar.refused[0]?.reason ?? jar.header(new URL('/oauth-agent/login/end', url)) ?? ''
}

describe('a cookie jar', () => {
  it.each([
    ['a=1', 'a=1'],
    [' a = 1 ; Path=/', 'a=1'],
    ['\ta\t=\t1', 'a=1'],
    ['a="q"; Path=/', 'a="q"'],
    ['a=b=c', 'a=b=c'],
    ['a=', 'a='],
    ['noname', 'noname'],
    ['=value', 'value'],
    ['', 'empty'],
    ['=; Path=/', 'empty'],
    ['a=1\u0000', 'control_character'],
    ['a=1; Path=/\u007f', 'control_character'],
    ['a=1; Path=/other', ''],
    ['a=1; Path=nonsense', 'a=1'],
    ['a=1; Path=/other; Path=/oauth-agent', 'a=1'],
  ])('keeps what %j says: %j', (line, outcome) => {
    expect(stored(line)).toBe(outcome)
  })

  it('[D-CK-04] keeps 4096 octets of name and value, and ignores 4097', () => {
    expect(stored(`ab=${'x'.repeat(4094)}`)).toHaveLength(4097)
    expect(stored(`ab=${'x'.repeat(4095)}`)).toBe('too_large')
    expect(stored(`ab=${'é'.repeat(2047)}`)).not.toBe('too_large')
    expect(stored(`ab=${'é'.repeat(2048)}`)).toBe('too_large')
  })

  it('[D-CK-04] ignores an attribute of more than 1024 octets', () => {
    expect(stored(`a=1; Path=/${'x'.repeat(1024)}`)).toBe('a=1')
    expect(stored(`a=1; Path=/${'x'.repeat(1023)}`)).toBe('')
  })

  describe('[D-CK-02] enforces name prefixes', () => {
    it.each([
      ['__Host-Http-a=1; ' + HOST_HTTP, true],
      ['__Host-Http-a=1; Path=/; Secure; SameSite=Strict', false],
      ['__Host-Http-a=1; Path=/; HttpOnly', false],
      ['__Host-Http-a=1; Secure; HttpOnly', false],
      ['__Host-Http-a=1; Path=/api; Secure; HttpOnly', false],
      ['__Host-Http-a=1; Domain=app.example.com; ' + HOST_HTTP, false],
      ['__hOST-hTTP-a=1; Path=/; Secure', false],
      ['__Host-a=1; Path=/; Secure', true],
      ['__Host-a=1; Secure', false],
      ['__HOST-a=1; Path=/', false],
      ['__Http-a=1; Secure; HttpOnly', true],
      ['__Http-a=1; Secure', false],
      ['__HTTP-a=1; HttpOnly', false],
      ['__Secure-a=1; Secure', true],
      ['__secure-a=1', false],
      ['=__Host-a=1; Path=/; Secure', false],
      ['__Secure-nameless; Secure', false],
      ['x__Host-a=1', true],
    ])('%s: %p', (line, isKept) => {
      expect(stored(line, 'https://app.example.com/oauth-agent/')).toBe(isKept ? (line.split(';')[0] ?? '') : 'prefix')
    })
  })

  it('keeps Secure cookies from https and from loopback only', () => {
    expect(stored('a=1; Secure', 'http://app.example.com/oauth-agent/x')).toBe('secure_over_http')
    for (const host of ['localhost', 'app.localhost', '127.0.0.1', '[::1]']) {
      expect(stored('a=1; Secure', `http://${host}:3000/oauth-agent/x`)).toBe('a=1')
    }
  })

  it('sends a Secure cookie over https only, and does not let http overwrite it', () => {
    const jar = new CookieJar()
    jar.store('https://app.example.com/', ['a=1; Secure; Path=/'])
    expect(jar.header('http://app.example.com/')).toBe('')
    jar.store('http://app.example.com/x/y', ['a=2'])
    expect(jar.refused).toEqual([{ line: 'a=2', reason: 'overwrites_secure' }])
  })

  it('sends to the paths below, but not to those that only look alike', () => {
    const jar = new CookieJar()
    jar.store('https://app.example.com/', ['a=1; Path=/api'])
    const header = (path: string): string => jar.header(`https://app.example.com${path}`)
    expect([header('/api'), header('/api/x'), header('/api?x')]).toEqual(['a=1', 'a=1', 'a=1'])
    expect([header('/apix'), header('/'), header('/API')]).toEqual(['', '', ''])
  })

  it('sends longer paths first, then older cookies; a replaced cookie keeps its age', () => {
    const jar = new CookieJar()
    jar.store(SITE, ['a=1; Path=/', 'b=1; Path=/', 'c=1; Path=/oauth-agent', 'a=2; Path=/'])
    expect(jar.header(SITE)).toBe('c=1; a=2; b=1')
    expect(jar.names()).toEqual(['b', 'c', 'a'])
  })

  it('keeps cookies of one name apart by path', () => {
    const jar = new CookieJar()
    jar.store(SITE, ['a=1; Path=/', 'a=2; Path=/oauth-agent'])
    expect(jar.get('a').map(({ path, value }) => [path, value])).toEqual([
      ['/', '1'],
      ['/oauth-agent', '2'],
    ])
    jar.store(SITE, ['a=; Path=/; Max-Age=0'])
    expect(jar.header(SITE)).toBe('a=2')
  })

  it('knows hosts and domains, whatever the port', () => {
    const jar = new CookieJar()
    jar.store('https://app.example.com:8443/', [
      'host=1',
      'wide=1; Domain=example.com',
      'up=1; Domain=com',
      'no=1; Domain=evil.com',
    ])
    expect(jar.header('https://app.example.com/')).toBe('host=1; wide=1')
    expect(jar.header('https://api.example.com/')).toBe('wide=1')
    expect(jar.header('https://badexample.com/')).toBe('')
    expect(jar.refused.map(({ reason }) => reason)).toEqual(['public_suffix', 'foreign_domain'])
  })

  it('[D-CK-11] forgets after Max-Age, which beats Expires, and after 400 days at the latest', () => {
    let now = Date.UTC(2030, 0, 1)
    const jar = new CookieJar({ now: () => now })
    jar.store(SITE, [
      'short=1; Max-Age=60; Expires=Fri, 01 Jan 2100 00:00:00 GMT',
      'date=1; Expires=Tue, 01 Jan 2030 00:02:00 GMT',
      'session=1; Max-Age=soon',
      'long=1; Max-Age=999999999999',
      'past=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
    ])
    expect(jar.names()).toEqual(['short', 'date', 'session', 'long'])
    now += 60_000
    expect(jar.names()).toEqual(['date', 'session', 'long'])
    now += 60_000
    expect(jar.names()).toEqual(['session', 'long'])
    now += 400 * 86_400_000
    expect(jar.names()).toEqual(['session'])
    jar.closeBrowser()
    expect(jar.names()).toEqual([])
  })

  it.each([
    ['Sun, 06 Nov 1994 08:49:37 GMT', true],
    ['Wed, 01-Jan-31 00:00:00 GMT', false],
    ['Jan 1 2031 00:00:00', false],
    ['31 Feb 2031 00:00:00', false],
    ['nonsense', false],
  ])('reads the date %j: past is %p', (date, isPast) => {
    const jar = new CookieJar({ now: () => Date.UTC(2030, 0, 1) })
    jar.store(SITE, [`a=1; Expires=${date}`])
    expect(jar.names()).toEqual(isPast ? [] : ['a'])
  })

  it('[A-08] sends Strict cookies to requests of the same site only, Lax ones also after a link', () => {
    const jar = new CookieJar()
    jar.store(SITE, [
      's=1; SameSite=Strict',
      'l=1; SameSite=Lax',
      'd=1',
      'n=1; SameSite=None; Secure',
      'x=1; SameSite=None',
    ])
    expect(jar.header(SITE)).toBe('s=1; l=1; d=1; n=1')
    expect(jar.header(SITE, { crossSite: true, topLevel: true })).toBe('l=1; d=1; n=1')
    expect(jar.header(SITE, { crossSite: true, topLevel: true, method: 'POST' })).toBe('n=1')
    expect(jar.header(SITE, { crossSite: true })).toBe('n=1')
    expect(jar.refused).toEqual([{ line: 'x=1; SameSite=None', reason: 'same_site_none_without_secure' }])
  })

  it('takes SameSite cookies of a cross-site answer only when the window goes there', () => {
    const jar = new CookieJar()
    jar.store(SITE, ['a=1; SameSite=Strict'], { crossSite: true })
    jar.store(SITE, ['b=1; SameSite=Strict'], { crossSite: true, topLevel: true })
    expect(jar.names()).toEqual(['b'])
  })

  it('[D-CK-09] drops the least recently used beyond its limit', () => {
    let now = 0
    const jar = new CookieJar({ now: () => ++now, maxPerDomain: 3 })
    jar.store(SITE, ['a=1; Path=/a', 'b=1; Path=/b', 'c=1; Path=/c'])
    jar.header('https://app.example.com/a')
    jar.store(SITE, ['d=1; Path=/d'])
    expect(jar.names()).toEqual(['a', 'c', 'd'])
  })

  it('gives back what a snapshot took', () => {
    const jar = new CookieJar()
    jar.store(SITE, ['a=1'])
    const snapshot = jar.snapshot()
    jar.store(SITE, ['a=2', 'b=1'])
    jar.restore(snapshot)
    expect(jar.header(SITE)).toBe('a=1')
  })
})
