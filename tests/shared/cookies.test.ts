import { describe, expect, it } from '@jest/globals'
import {
  clearCookieLine,
  cookieNames,
  cookieTag,
  cookieValues,
  listCookieNames,
  readSids,
  setCookieLines,
} from '@token-handler/shared'
import { CookieJar } from '../support/cookie-jar.ts'
import { names, settings } from './cookie-settings.ts'

const sid = 'AAAAAAAAAAAAAAAAAAAAAQ'
const otherSid = 'BBBBBBBBBBBBBBBBBBBBBQ'

/** Milliseconds that some reading takes; a quadratic reader needs seconds for what is asked here. */
function timeOf(work: () => void): number {
  const start = performance.now()
  work()
  return performance.now() - start
}

function read(header: string | undefined): string[] {
  return cookieValues(header, names.sid)
}

describe('cookie names', () => {
  it('[D-CK-02] [A-11] promise by their prefix what their path allows', () => {
    expect(names.sid).toBe('__Host-Http-th-sid')
    expect(names.login('x')).toBe('__Host-Http-th-login-x')
    expect(names.accessToken('TAG')).toBe('__Secure-th-at-TAG')
    expect(names.refreshToken('TAG')).toBe('__Secure-th-rt-TAG')
    expect(names.idToken('TAG')).toBe('__Secure-th-id-TAG')
    expect(names.logout('TAG')).toBe('__Host-Http-th-logout-TAG')
  })

  it('[D-CK-02] give an access cookie for the whole host the stronger prefix', () => {
    expect(cookieNames({ ...settings, accessTokenPath: '/' }).accessToken('TAG')).toBe('__Host-Http-th-at-TAG')
  })

  it('carry the configured prefix', () => {
    expect(cookieNames({ ...settings, prefix: 'shop' }).sid).toBe('__Host-Http-shop-sid')
  })

  it('[D-CK-02] [D-CK-03] [A-06] [A-07] [A-08] [A-10] [D-CK-12] [D-CK-13] [F-CU-7] [F-RO-7] are all taken by a browser, and deleted again', () => {
    for (const accessTokenPath of ['/api', '/', '/a/b']) {
      const own = cookieNames({ ...settings, accessTokenPath })
      const cookies = [
        [own.sid, '/'],
        [own.login('x'), '/'],
        [own.accessToken('TAG'), accessTokenPath],
        [own.refreshToken('TAG'), settings.agentPath],
        [own.idToken('TAG'), settings.agentPath],
        [own.logout('TAG'), '/'],
      ] as const
      const jar = new CookieJar()
      for (const [name, path] of cookies) {
        const lines = setCookieLines({ name, value: 'v', path, maxAgeSeconds: 60 })
        expect(lines).toEqual([`${name}=v; Max-Age=60; Path=${path}; HttpOnly; Secure; SameSite=Strict`])
        jar.store('https://app.example/', lines)
      }
      expect(jar.refused).toEqual([])
      expect(jar.names()).toEqual(cookies.map(([name]) => name))
      for (const [name, path] of cookies) {
        expect(name.toLowerCase()).toMatch(new RegExp(`^(?:${own.ownPrefixes.join('|')})`))
        jar.store('https://app.example/', [clearCookieLine(name, path)])
      }
      expect(jar.refused).toEqual([])
      expect(jar.names()).toEqual([])
    }
  })

  it('name a session by the start of its sid', () => {
    expect(cookieTag(sid)).toBe('AAAAAAAA')
  })
})

describe('a Set-Cookie line', () => {
  it('[D-CK-11] has a whole Max-Age of at least one second', () => {
    for (const [given, expected] of [
      [59.9, 59],
      [0, 1],
      [-5, 1],
    ] as const) {
      const [line] = setCookieLines({ name: names.sid, value: sid, path: '/', maxAgeSeconds: given }) ?? []
      expect(line).toContain(`Max-Age=${expected};`)
    }
  })

  it('has no Max-Age when the cookie ends with the browser session', () => {
    const lines = setCookieLines({ name: names.sid, value: sid, path: '/' })
    expect(lines).toEqual([`${names.sid}=${sid}; Path=/; HttpOnly; Secure; SameSite=Strict`])
    const jar = new CookieJar()
    jar.store('https://app.example/', lines)
    jar.closeBrowser()
    expect(jar.names()).toEqual([])
  })

  it('[B-LO-02] [F-EN-2] [F-NA-10] that deletes has the attributes of the one that set, and is over for every clock', () => {
    expect(clearCookieLine(names.sid, '/')).toBe(
      `${names.sid}=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Strict`,
    )
    expect(clearCookieLine(names.accessToken('TAG'), '/api')).toContain('; Path=/api;')
  })
})

describe('cookie values in a raw header', () => {
  it('are found wherever they stand', () => {
    expect(read(undefined)).toEqual([])
    expect(read('')).toEqual([])
    expect(read(`${names.sid}=v`)).toEqual(['v'])
    expect(read(`a=1; ${names.sid}=v; b=2`)).toEqual(['v'])
    expect(read(`a=1;${names.sid}=v;b=2`)).toEqual(['v'])
    expect(read(`a; ;; =;  ${names.sid}= v \t; b`)).toEqual(['v'])
    expect(read(`${names.sid}=`)).toEqual([''])
    expect(read(`${names.sid}=a=b`)).toEqual(['a=b'])
  })

  it.each([
    ['another case', `__host-http-th-sid=${sid}`],
    ['upper case', `${names.sid.toUpperCase()}=${sid}`],
  ])('[D-TO-05] are not found under a name in %s', (_, header) => {
    expect(read(header)).toEqual([])
  })

  it.each([
    ['nameless', `=${names.sid}=${sid}`],
    ['nameless after another', `a=1; =${names.sid}=${sid}`],
    ['after a tab', `a=1;\t${names.sid}=${sid}`],
    ['after a no-break space', `\u00A0${names.sid}=${sid}`],
    ['after an en quad', `a=1; \u2000${names.sid}=${sid}`],
    ['after the bytes of an en quad', `a=1; \u00E2\u0080\u0080${names.sid}=${sid}`],
    ['after a byte order mark', `\uFEFF${names.sid}=${sid}`],
    ['after a NUL', `a=1; \0${names.sid}=${sid}`],
    ['before a space and the equals sign', `${names.sid} =${sid}`],
    ['in quotes', `"${names.sid}"=${sid}`],
    ['with an escape', `__Host-Http-th%2Dsid=${sid}`],
    ['as part of a longer name', `x${names.sid}=${sid}; ${names.sid}x=${sid}`],
    ['as a value', `a=${names.sid}=${sid}`],
    ['after a comma', `a=1, ${names.sid}=${sid}`],
    ['without the prefix', `sid=${sid}; th-sid=${sid}; __Host-th-sid=${sid}; __Secure-th-sid=${sid}`],
  ])('[D-TO-04] [D-TO-03] are not found under a name %s', (_, header) => {
    expect(read(header)).toEqual([])
  })

  it('[D-TO-04] are neither grouped nor unquoted: what stands between quotes in other cookies stays a cookie', () => {
    expect(read(`$Version=1; a="x; ${names.sid}=${sid}; b=y"`)).toEqual([sid])
    expect(read(`${names.sid}="${sid}"`)).toEqual([`"${sid}"`])
    expect(readSids(`${names.sid}="${sid}"`, names)).toEqual([])
  })

  it('[D-TO-06] are given as they are, without decoding', () => {
    for (const value of [
      'j:{"a":1}',
      's:abc.def',
      '%',
      '%41',
      '%E0%A4%A',
      '\0',
      '\u00E9',
      '\uD800',
      'x'.repeat(16_384),
    ]) {
      expect(read(`a=1; ${names.sid}=${value}`)).toEqual([value])
      expect(readSids(`${names.sid}=${value}`, names)).toEqual([])
    }
  })

  it('[D-TO-07] are not mistaken for members of an object', () => {
    const header = '__proto__=1; constructor=2; hasOwnProperty=3; toString=4'
    expect(read(header)).toEqual([])
    expect(cookieValues(header, '__proto__')).toEqual(['1'])
    expect(listCookieNames(header)).toEqual(['__proto__', 'constructor', 'hasOwnProperty', 'toString'])
  })

  it('are at most four under one name', () => {
    const header = Array.from({ length: 10 }, (_, at) => `${names.sid}=v${at}`).join('; ')
    expect(read(header)).toEqual(['v0', 'v1', 'v2', 'v3'])
  })

  it('[D-TO-08] are found in time that grows with the header and no faster', () => {
    const size = 200_000
    const hostile = [
      Array.from({ length: 1000 }, (_, at) => `c${at}=${'x'.repeat(200)}`).join('; '),
      names.sid.repeat(size / names.sid.length),
      `${names.sid}=`.repeat(size / names.sid.length),
      `${' '.repeat(size / 2)}${names.sid}=v${' '.repeat(size / 2)}x`,
      ` ${names.sid}=`.repeat(size / names.sid.length),
      `a${' '.repeat(size)}=`,
      `a${'\t'.repeat(size)}b=`,
      ';'.repeat(size),
      '='.repeat(size),
    ]
    for (const header of hostile) {
      // A hang, not a speed: reading in quadratic time took 36 s.
      expect(timeOf(() => cookieValues(header, names.sid))).toBeLessThan(5_000)
      expect(timeOf(() => listCookieNames(header))).toBeLessThan(5_000)
      expect(timeOf(() => readSids(header, names))).toBeLessThan(5_000)
    }
  })
})

describe('the sid', () => {
  it('is 128 bits as base64url, and nothing else', () => {
    expect(readSids(`${names.sid}=${sid}`, names)).toEqual([sid])
    for (const odd of ['', 'x', sid.slice(1), `${sid}A`, sid.replace('A', '+'), `${sid}=`, ` ${sid}.`]) {
      expect(readSids(`${names.sid}=${odd}`, names)).toEqual([])
    }
  })

  it('counts once when it is sent twice, and shows a second one', () => {
    expect(readSids(`${names.sid}=${sid}; ${names.sid}=${sid}`, names)).toEqual([sid])
    expect(readSids(`${names.sid}=${sid}; ${names.sid}=${otherSid}`, names)).toEqual([sid, otherSid])
  })
})

describe('the names of all cookies in a header', () => {
  it('are trimmed of space and tab and of nothing else', () => {
    expect(listCookieNames('a=1;  b = 2;\tc\t=3; \u00A0d=4; e; =5; f=g=h')).toEqual(['a', 'b', 'c', 'f'])
    expect(listCookieNames(undefined)).toEqual([])
  })

  it('are only those that one of ours could have, and that a Set-Cookie line can carry', () => {
    const prefix = names.refreshToken('')
    for (const odd of ['a b', 'a\tb', 'a"b', 'a,b', '\u00C3\u00A9', '\u00E9', 'a\0b', 'a\\b', 'x'.repeat(4000)]) {
      expect(listCookieNames(`${prefix}${odd}=1; ${prefix}AbC-_123.0=2`)).toEqual([`${prefix}AbC-_123.0`])
    }
  })

  it('are listed for the first 200 cookies only', () => {
    expect(listCookieNames('a=1;'.repeat(500))).toHaveLength(200)
  })
})
