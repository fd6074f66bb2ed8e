import { cookieTag, setCookieLines } from '@token-handler/shared'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { exchange, rawRequest, type RawAnswer } from '../support/raw-client.ts'
import type { TestSession } from '../support/session-cookies.ts'
import { publicOrigin, startProxy, type ProxyUnderTest } from './proxy-under-test.ts'

/** The same bytes but for the first bit. */
function flip(part: string): string {
  const bytes = Buffer.from(part, 'base64url')
  bytes.writeUInt8(bytes.readUInt8(0) ^ 0x80, 0)
  return bytes.toString('base64url')
}

describe('the access cookie', () => {
  let proxy: ProxyUnderTest
  beforeEach(async () => {
    proxy = await startProxy()
  })
  afterEach(() => proxy.close())

  function callWith(...cookies: readonly string[]): Promise<RawAnswer> {
    const lines = cookies.map((cookie) => `Cookie: ${cookie}`)
    return exchange(
      proxy.port,
      rawRequest('GET /api/x', ['Host: a', `Origin: ${publicOrigin}`, 'token-handler-version: 1', ...lines]),
    )
  }

  async function expectRefused(answer: RawAnswer, code: string): Promise<void> {
    expect(answer.status).toBe(401)
    expect(answer.json().code).toBe(code)
    expect(answer.values('set-cookie')).toEqual([])
    expect(proxy.upstream.received()).toBe('')
  }

  const atName = ({ sid }: TestSession): string => proxy.kit.names.accessToken(cookieTag(sid))
  const valueOf = (session: TestSession): string => session.cookie.slice(session.cookie.lastIndexOf('=') + 1)

  it('counts among other cookies, in any order and in two headers', async () => {
    const [sid = '', at = ''] = proxy.session.cookie.split('; ')
    expect((await callWith(`a=b; ${at};c=d;  ${sid} ;`)).status).toBe(200)
    expect((await callWith(at, sid)).status).toBe(200)
    expect(proxy.upstream.requests[1]?.values('authorization')).toEqual([`Bearer ${proxy.session.accessToken}`])
  })

  it('can come in chunks', async () => {
    const large = proxy.kit.session({ at: `canary-${'x'.repeat(5000)}` })
    const lines = setCookieLines({ name: atName(large), value: valueOf(large), path: '/api' }) ?? []
    expect(lines.length).toBeGreaterThan(1)
    const chunks = lines.map((line) => line.split(';')[0])
    const answer = await callWith([`${proxy.kit.names.sid}=${large.sid}`, ...chunks.toReversed()].join('; '))
    expect(answer.status).toBe(200)
    expect(proxy.upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${large.accessToken}`])
  })

  it('is a reason to refresh when it is absent beside a sid', async () => {
    await expectRefused(await callWith(`${proxy.kit.names.sid}=${proxy.session.sid}`), 'access_token_expired')
  })

  it('[E-CK-04] is a reason to refresh when it is from more than a minute ahead, and the log says why', async () => {
    const { iat: sealedAt = 0 } = proxy.session.claims
    const now = Math.floor(proxy.clock.now() / 1000)
    const ahead = (seconds: number): TestSession => proxy.kit.session({ iat: now + seconds })
    expect(sealedAt).toBe(now)
    expect((await callWith(ahead(59).cookie)).status).toBe(200)
    const answered = proxy.upstream.received()
    const refused = await callWith(ahead(90).cookie)
    expect([refused.status, refused.json().code]).toEqual([401, 'access_token_expired'])
    expect(proxy.upstream.received()).toBe(answered)
    expect(proxy.log.at(-1)?.fields).toMatchObject({ clock: expect.stringContaining('compare the clocks') })
  })

  it('opens nothing without the sid', async () => {
    const [, at = ''] = proxy.session.cookie.split('; ')
    await expectRefused(await callWith(at), 'session_missing')
  })

  it('opens nothing with the sid of another session: planted or copied alone it is useless', async () => {
    const attacker = proxy.kit.session()
    const planted = `${proxy.kit.names.sid}=${proxy.session.sid}; ${atName(proxy.session)}=${valueOf(attacker)}`
    await expectRefused(await callWith(planted), 'session_missing')
  })

  it('counts once among several of the same name when one opens', async () => {
    const attacker = proxy.kit.session()
    const planted = `${atName(proxy.session)}=${valueOf(attacker)}; ${atName(proxy.session)}=x`
    expect((await callWith(`${planted}; ${proxy.session.cookie}`)).status).toBe(200)
    expect(proxy.upstream.requests[0]?.values('authorization')).toEqual([`Bearer ${proxy.session.accessToken}`])
  })

  it('is nobody’s when two different ones open', async () => {
    const twin = proxy.kit.session({ sid: proxy.session.sid })
    await expectRefused(await callWith(`${proxy.session.cookie}; ${atName(twin)}=${valueOf(twin)}`), 'session_missing')
  })

  it.each([
    ['a lower-case name', (cookie: string) => cookie.toLowerCase().replace(/=.*$/, '')],
    ['no prefix', (cookie: string) => cookie.replaceAll(/__Host-Http-|__Secure-/g, '')],
    ['a nameless cookie', (cookie: string) => cookie.replaceAll('__', '=__')],
    ['quotes', (cookie: string) => cookie.replaceAll(/=([^;]+)/g, '="$1"')],
    ['$Version around it', (cookie: string) => `$Version=1; x="${cookie}"`],
    ['a form feed before it', (cookie: string) => cookie.replaceAll('__', '\f__')],
    ['a no-break space before it', (cookie: string) => cookie.replaceAll('__', '\xa0__')],
    ['percent escapes', (cookie: string) => cookie.replaceAll('__', '%5F%5F')],
    ['spaces around the sign', (cookie: string) => cookie.replaceAll('=', ' = ')],
  ])('[D-TO-04] [D-TO-05] is none with %s', async (_what, change) => {
    const answer = await callWith(change(proxy.session.cookie))
    expect([400, 401]).toContain(answer.status)
    expect(proxy.upstream.received()).toBe('')
  })

  it.each([
    'j:{"a":1}',
    's:abc.def',
    '%E0%A4%A',
    '',
    '.',
    '....',
    'a.b.c.d.e',
    'eyJhbGciOiJub25lIn0..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA',
    'x'.repeat(8000),
    '\xe9\xff',
    '__proto__',
  ])('[D-TO-06] is no session when its value is %j, and nothing breaks', async (value) => {
    const { sid } = proxy.session
    await expectRefused(
      await callWith(`${proxy.kit.names.sid}=${sid}; ${atName(proxy.session)}=${value}`),
      'session_missing',
    )
    const answer = await callWith(`${proxy.kit.names.sid}=${value}; ${atName(proxy.session)}=${value}`)
    await expectRefused(answer, 'session_missing')
    expect((await callWith(proxy.session.cookie)).status).toBe(200)
  })

  it('[D-TO-07] is found beside cookies with the names of object members', async () => {
    const answer = await callWith(`__proto__=1; constructor=2; hasOwnProperty=3; ${proxy.session.cookie}`)
    expect(answer.status).toBe(200)
  })

  it('[D-TO-08] is looked for in linear time and opened a bounded number of times', async () => {
    const started = process.cpuUsage()
    const junk = Array.from({ length: 300 }, (_, index) => `${atName(proxy.session)}=${index}`).join('; ')
    await callWith(`${proxy.kit.names.sid}=${proxy.session.sid}; ${junk}`)
    await callWith(`${proxy.kit.names.sid}=`.repeat(600))
    await callWith(`x=${' '.repeat(14_000)}`)
    expect(process.cpuUsage(started).user).toBeLessThan(500_000)
  })

  it.each<[string, (parts: readonly string[], session: TestSession) => string]>([
    ['the access token in clear', (_parts, { accessToken }) => accessToken],
    ['a JWT', () => 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl'],
    ['its header alone', ([header]) => `${header}....`],
    ['another initialization vector', ([header, key, iv = '', ...rest]) => [header, key, flip(iv), ...rest].join('.')],
    ['another ciphertext', ([header, key, iv, text = '', tag]) => [header, key, iv, flip(text), tag].join('.')],
    ['another tag', (parts) => [...parts.slice(0, 4), flip(parts[4] ?? '')].join('.')],
    ['no tag', (parts) => [...parts.slice(0, 4), ''].join('.')],
    ['half of it', (parts) => parts.join('.').slice(0, 200)],
  ])('[F-CU-8] is no session with %s in its place', async (_what, change) => {
    const { session, kit } = proxy
    const value = change(valueOf(session).split('.'), session)
    await expectRefused(
      await callWith(`${kit.names.sid}=${session.sid}; ${atName(session)}=${value}`),
      'session_missing',
    )
  })

  it('is refused when another purpose or another key sealed it', async () => {
    const { sealer } = proxy.kit
    const wrongPurpose = sealer.seal('id-token', proxy.session.claims)
    await expectRefused(
      await callWith(`${proxy.kit.names.sid}=${proxy.session.sid}; ${atName(proxy.session)}=${wrongPurpose}`),
      'session_missing',
    )
    const stranger = await startProxy()
    try {
      await expectRefused(await callWith(stranger.session.cookie), 'session_missing')
    } finally {
      await stranger.close()
    }
  })
})
