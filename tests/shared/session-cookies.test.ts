import { describe, expect, it } from '@jest/globals'
import {
  cookieNames,
  cookieTag,
  identityHash,
  purposes,
  readSessionCookie,
  sessionIdentity,
  setCookieLines,
  type AccessCookieClaims,
  type CookieNames,
  type Purpose,
  type SessionClaims,
  type SessionCookie,
} from '@token-handler/shared'
import { names, settings } from './cookie-settings.ts'
import { createSealing, sealerFor } from './sealing.ts'

const sid = 'AAAAAAAAAAAAAAAAAAAAAQ'
/** Has the tag of the first, as nobody but its owner could make it. */
const sameTagSid = 'AAAAAAAABBBBBBBBBBBBBQ'
const otherSid = 'BBBBBBBBBBBBBBBBBBBBBQ'
const sealing = createSealing()

function seal(purpose: Purpose, session: string, seconds = 300): string {
  const claims: SessionClaims & { at: string } = {
    exp: sealing.inSeconds(seconds),
    sid: session,
    at: `token of ${session}`,
  }
  return sealing.sealer.seal(purpose, claims)
}

function read(
  cookies: readonly string[],
  {
    purpose = 'access-token',
    nameOf = names.accessToken,
  }: { purpose?: Purpose; nameOf?: (tag: string) => string } = {},
): SessionCookie<SessionClaims> {
  return readSessionCookie(cookies.join('; '), purpose, nameOf, { names, sealer: sealing.sealer })
}

const sidCookie = (value: string): string => `${names.sid}=${value}`
const access = (session: string, value: string): string => `${names.accessToken(cookieTag(session))}=${value}`

describe("a session's cookie", () => {
  it('is found beside the sid that it carries', () => {
    const found = read([sidCookie(sid), access(sid, seal('access-token', sid))])
    expect(found).toEqual({
      ok: true,
      sid,
      kid: sealing.kid,
      claims: { exp: sealing.inSeconds(300), sid, at: `token of ${sid}` },
    })
  })

  it('is found in chunks', () => {
    const claims = { exp: sealing.inSeconds(300), sid, at: 'x'.repeat(9000) }
    const lines = setCookieLines({
      name: names.accessToken(cookieTag(sid)),
      value: sealing.sealer.seal('access-token', claims),
      path: settings.accessTokenPath,
    })
    const cookies = (lines ?? []).map((line) => line.slice(0, line.indexOf(';')))
    expect(cookies.length).toBeGreaterThan(1)
    expect(read([sidCookie(sid), ...cookies])).toEqual({ ok: true, sid, kid: sealing.kid, claims })
  })

  it('[A-23] is not there without a sid cookie, whatever else is', () => {
    expect(read([])).toEqual({ ok: false, reason: 'no_session' })
    expect(read([access(sid, seal('access-token', sid))])).toEqual({ ok: false, reason: 'no_session' })
    expect(read([sidCookie('x'), access(sid, seal('access-token', sid))])).toEqual({ ok: false, reason: 'no_session' })
  })

  it('is absent where only the sid is, and expired past its time', () => {
    expect(read([sidCookie(sid)])).toEqual({ ok: false, reason: 'absent', sid })
    expect(read([sidCookie(sid), access(sid, seal('access-token', sid, 0))])).toEqual({
      ok: false,
      reason: 'expired',
      sid,
    })
  })

  it('[A-23] [F-NA-11] is unusable when it does not open', () => {
    for (const junk of ['', 'x', 'j:{}', seal('access-token', sid).slice(0, -1), 'x'.repeat(16_000)]) {
      expect(read([sidCookie(sid), access(sid, junk)])).toEqual({ ok: false, reason: 'unusable' })
    }
  })

  it('[E-DS-03] is unusable when it carries another sid, even one of the same tag', () => {
    for (const foreign of [otherSid, sameTagSid]) {
      expect(read([sidCookie(sid), access(sid, seal('access-token', foreign))])).toEqual({
        ok: false,
        reason: 'unusable',
      })
    }
  })

  it('[E-DS-03] is ignored under the tag of another session', () => {
    expect(read([sidCookie(sid), access(otherSid, seal('access-token', sid))])).toEqual({
      ok: false,
      reason: 'absent',
      sid,
    })
  })

  it('[D-TO-01] is found among planted values that do not open', () => {
    const value = seal('access-token', sid)
    for (const planted of [
      'x',
      seal('access-token', otherSid),
      seal('refresh-token', sid),
      seal('access-token', sid, -1),
    ]) {
      expect(read([sidCookie(sid), access(sid, planted), access(sid, value)])).toMatchObject({ ok: true, sid })
      expect(read([sidCookie(sid), access(sid, value), access(sid, planted)])).toMatchObject({ ok: true, sid })
    }
  })

  it('counts once when it is sent twice', () => {
    const value = seal('access-token', sid)
    expect(read([sidCookie(sid), sidCookie(sid), access(sid, value), access(sid, value)])).toMatchObject({
      ok: true,
      sid,
    })
  })

  it('[D-TO-01] is unusable when two different values open', () => {
    expect(
      read([sidCookie(sid), access(sid, seal('access-token', sid)), access(sid, seal('access-token', sid))]),
    ).toEqual({
      ok: false,
      reason: 'unusable',
    })
  })

  it('[D-TO-02] is unusable when two sessions are complete, and found when the second is a bare sid', () => {
    const first = [sidCookie(sid), access(sid, seal('access-token', sid))]
    const second = [sidCookie(otherSid), access(otherSid, seal('access-token', otherSid))]
    expect(read([...first, ...second])).toEqual({ ok: false, reason: 'unusable' })
    expect(read([...second, ...first])).toEqual({ ok: false, reason: 'unusable' })
    expect(read([sidCookie(otherSid), ...first])).toMatchObject({ ok: true, sid })
    expect(read([...first, sidCookie(otherSid)])).toMatchObject({ ok: true, sid })
  })

  it('[D-TO-02] is unusable, not absent, when two sids leave open whose it would be', () => {
    expect(read([sidCookie(sid), sidCookie(otherSid)])).toEqual({ ok: false, reason: 'unusable' })
  })
})

describe('cookies of two sessions, spliced', () => {
  const slots: readonly { purpose: Purpose; nameOf: (tag: string) => string }[] = [
    { purpose: 'access-token', nameOf: names.accessToken },
    { purpose: 'refresh-token', nameOf: names.refreshToken },
    { purpose: 'id-token', nameOf: names.idToken },
    { purpose: 'login', nameOf: names.login },
    { purpose: 'logout', nameOf: names.logout },
  ]
  const cases = slots.flatMap((slot) =>
    purposes.flatMap((sealedFor) =>
      [sid, otherSid, sameTagSid].flatMap((session) =>
        [sid, otherSid].map((shownSid) => ({ slot, sealedFor, session, shownSid })),
      ),
    ),
  )

  it('[E-DS-01] [E-DS-03] [D-SE-03] open only for the right purpose in the right slot beside the right sid', () => {
    const right = cases.filter(({ slot, sealedFor, session, shownSid }) => {
      const cookie = `${slot.nameOf(cookieTag(shownSid))}=${seal(sealedFor, session)}`
      return read([sidCookie(shownSid), cookie], slot).ok
    })
    expect(cases).toHaveLength(180)
    expect(right).toEqual(
      cases.filter(({ slot, sealedFor, session, shownSid }) => slot.purpose === sealedFor && session === shownSid),
    )
    expect(right).toHaveLength(10)
  })

  it('[A-32] [E-DS-02] open nothing for a second application on the same host', () => {
    const otherNames: CookieNames = cookieNames({ ...settings, prefix: 'shop' })
    const otherSealer = sealerFor(sealing.keyFile, sealing.clock, { issuer: 'https://as.example', clientId: 'shop' })
    const ours = [sidCookie(sid), access(sid, seal('access-token', sid))]
    const renamed = ours.map((cookie) => cookie.replace('-th-', '-shop-'))
    const readAt = (cookies: readonly string[]): SessionCookie<SessionClaims> =>
      readSessionCookie(cookies.join('; '), 'access-token', otherNames.accessToken, {
        names: otherNames,
        sealer: otherSealer,
      })
    expect(readAt(ours)).toEqual({ ok: false, reason: 'no_session' })
    expect(readAt(renamed)).toEqual({ ok: false, reason: 'unusable' })
  })
})

describe('what a session is judged by', () => {
  it('comes from the access cookie', () => {
    const claims: AccessCookieClaims = { exp: 1, sid, at: 'x', sst: 5, sub: 'hash', asid: 'other' }
    expect(sessionIdentity(claims)).toEqual({ sid, startedAt: 5, subjectHash: 'hash', asSessionHash: 'other' })
  })

  it('[F-EN-4] names nobody, and no two pairs run into each other', () => {
    const hash = identityHash('https://as.example', 'alice')
    expect(Buffer.from(hash, 'base64url')).toHaveLength(16)
    expect(hash).toBe(identityHash('https://as.example', 'alice'))
    const pairs = [
      ['https://as.example', 'alice'],
      ['https://as.example', 'Alice'],
      ['https://as.examplea', 'lice'],
      ['https://as.example","alice', ''],
      ['', 'https://as.examplealice'],
    ] as const
    expect(new Set(pairs.map(([issuer, subject]) => identityHash(issuer, subject))).size).toBe(pairs.length)
  })
})
