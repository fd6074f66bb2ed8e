import { hkdfSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { CompactEncrypt } from 'jose'
import { purposes } from '@token-handler/shared'
import { client, createSealing, sealedByJose, sealerFor, tokenOf } from './sealing.ts'

describe('sealed cookie values in another place', () => {
  it('[E-DS-01] [E-JW-04] [D-SE-03] [F-CU-1] [F-AJ-4] open for their own purpose and for no other', () => {
    const sealing = createSealing()
    for (const sealed of purposes) {
      const value = sealing.sealer.seal(sealed, tokenOf(sealing))
      for (const wanted of purposes) {
        expect(sealing.sealer.open(wanted, value)).toEqual(
          wanted === sealed
            ? { ok: true, kid: sealing.kid, claims: tokenOf(sealing) }
            : { ok: false, reason: 'wrong_purpose' },
        )
      }
    }
  })

  it('[E-DS-01] stay refused for another purpose after their header was seen and remembered', () => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('refresh-token', tokenOf(sealing))
    for (let round = 0; round < 3; round++) {
      expect(sealing.sealer.open('refresh-token', value).ok).toBe(true)
      expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'wrong_purpose' })
    }
  })

  it('[E-DS-01] [E-DS-05] are refused with the typ of another purpose, for each purpose has a key of its own', async () => {
    const sealing = createSealing()
    const relabelled = await new CompactEncrypt(Buffer.from(JSON.stringify(tokenOf(sealing))))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: sealing.kid, typ: 'th1-access-token' })
      .encrypt(sealing.keyOf('refresh-token'))
    expect(sealing.sealer.open('access-token', relabelled)).toEqual({ ok: false, reason: 'damaged' })
  })

  it('[E-DS-05] are refused when the master key itself sealed them', async () => {
    const sealing = createSealing()
    const master = Buffer.from(sealing.keyFile.keys[0]?.key ?? '', 'base64url')
    const value = await new CompactEncrypt(Buffer.from(JSON.stringify(tokenOf(sealing))))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: sealing.kid, typ: 'th1-access-token' })
      .encrypt(master)
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
  })

  it.each([
    ['another issuer', { ...client, issuer: 'https://staging.as.example' }],
    ['another client', { ...client, clientId: 'other-client' }],
    ['fields that join to the same text', { issuer: `${client.issuer}s`, clientId: client.clientId.slice(1) }],
  ])('[E-DS-02] open nothing for %s, even with the same key file', (_, context) => {
    const sealing = createSealing()
    const elsewhere = sealerFor(sealing.keyFile, sealing.clock, context)
    for (const purpose of purposes) {
      const value = sealing.sealer.seal(purpose, tokenOf(sealing))
      expect(elsewhere.open(purpose, value)).toEqual({ ok: false, reason: 'damaged' })
    }
  })

  it('[F-EN-4] derive keys from fields that cannot run into each other', () => {
    const sealing = createSealing()
    const master = Buffer.from(sealing.keyFile.keys[0]?.key ?? '', 'base64url')
    const info = JSON.stringify(['token-handler', 1, 'access-token', client.issuer, client.clientId])
    expect(sealing.keyOf('access-token')).toEqual(Buffer.from(hkdfSync('sha256', master, '', info, 32)))
  })
})

describe('sealed cookie values in time', () => {
  it('[E-CK-01] [F-CU-2] are refused from the second in exp on, whatever Max-Age said', () => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('access-token', tokenOf(sealing))
    sealing.clock.advance(299_999)
    expect(sealing.sealer.open('access-token', value).ok).toBe(true)
    sealing.clock.advance(1)
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'expired' })
  })

  it.each([undefined, null, '2000000000', [], {}, true])(
    '[E-CK-01] [E-JW-04] are refused with %j for exp',
    async (exp) => {
      const sealing = createSealing()
      const value = await sealedByJose(sealing, {}, { at: 'x', exp })
      expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'expired' })
    },
  )

  it('[E-CK-04] are refused while they are from more than a minute ahead, as after a clock was set back', () => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('access-token', { ...tokenOf(sealing), iat: sealing.inSeconds(0) })
    sealing.clock.jump(-60_000)
    for (let time = 0; time < 3; time++) expect(sealing.sealer.open('access-token', value).ok).toBe(true)
    sealing.clock.jump(-1)
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'not_yet_valid' })
    sealing.clock.advance(1)
    expect(sealing.sealer.open('access-token', value).ok).toBe(true)
  })

  it.each(['null', '[]', '"text"', '1', 'not json', ''])('are refused when they hold %j', async (text) => {
    const sealing = createSealing()
    const value = await new CompactEncrypt(Buffer.from(text))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: sealing.kid, typ: 'th1-access-token' })
      .encrypt(sealing.keyOf('access-token'))
    expect(sealing.sealer.open('access-token', value).ok).toBe(false)
  })
})
