import { describe, expect, it } from '@jest/globals'
import { CompactEncrypt } from 'jose'
import { createSealing, sealedByJose, tokenOf } from './sealing.ts'

/** Puts another header in front: what an attacker can do without any key. */
function withHeader(value: string, header: unknown): string {
  const [, ...rest] = value.split('.')
  return [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.')
}

describe('sealed cookie values with another header', () => {
  it.each([
    ['A256GCMKW', 'A256GCM'],
    ['A256KW', 'A256GCM'],
  ])('[E-JW-01] are refused when the right key was used with alg %s', async (alg, enc) => {
    const sealing = createSealing()
    const value = await new CompactEncrypt(Buffer.from(JSON.stringify(tokenOf(sealing))))
      .setProtectedHeader({ alg, enc, kid: sealing.kid, typ: 'th1-access-token' })
      .encrypt(sealing.keyOf('access-token'))
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
  })

  it('[E-JW-01] [E-GC-07] are refused when the right key was used with enc A128CBC-HS256', async () => {
    const sealing = createSealing()
    expect(sealing.sealer.open('access-token', await sealedByJose(sealing, { enc: 'A128CBC-HS256' }))).toEqual({
      ok: false,
      reason: 'damaged',
    })
  })

  it('[E-JW-02] are refused with a non-empty encrypted key', () => {
    const sealing = createSealing()
    const parts = sealing.sealer.seal('access-token', tokenOf(sealing)).split('.')
    for (const encryptedKey of ['A', 'AA', sealing.keyOf('access-token').toString('base64url')]) {
      expect(sealing.sealer.open('access-token', parts.with(1, encryptedKey).join('.'))).toEqual({
        ok: false,
        reason: 'damaged',
      })
    }
  })

  it('[E-JW-03] are refused with any member besides the four, even under the right key', async () => {
    const sealing = createSealing()
    const jwk = { kty: 'oct', k: 'AAAA' }
    for (const extra of [{ jwk }, { jku: 'https://attacker.example/jwks' }, { cty: 'JWT' }, { x: 1 }]) {
      const value = await sealedByJose(sealing, extra)
      expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
    }
    const value = await new CompactEncrypt(Buffer.from(JSON.stringify(tokenOf(sealing))))
      .setProtectedHeader({
        alg: 'dir',
        enc: 'A256GCM',
        kid: sealing.kid,
        typ: 'th1-access-token',
        crit: ['x'],
        x: 1,
      })
      .encrypt(sealing.keyOf('access-token'), { crit: { x: true } })
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
  })

  it('[E-JW-03] [F-MO-16] [F-RO-4] are refused compressed, so that no small value unpacks to a large one', async () => {
    const sealing = createSealing()
    const bomb = { ...tokenOf(sealing), at: 'x'.repeat(1_000_000) }
    const value = await sealedByJose(sealing, { zip: 'DEF' }, bomb)
    expect(value.length).toBeLessThan(5_000)
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
  })

  it.each(['alg', 'enc', 'kid', 'typ'])('are refused without %s', async (member) => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('access-token', tokenOf(sealing))
    const header = { alg: 'dir', enc: 'A256GCM', kid: sealing.kid, typ: 'th1-access-token' }
    const { [member as 'alg']: _, ...rest } = header
    expect(sealing.sealer.open('access-token', withHeader(value, rest)).ok).toBe(false)
    expect(sealing.sealer.open('access-token', withHeader(value, { ...header, [member]: 1 })).ok).toBe(false)
    expect(sealing.sealer.open('access-token', withHeader(value, { ...rest, x: 1 })).ok).toBe(false)
  })

  it('[E-GC-08] [E-KM-03] are refused for a key id that is long, empty, odd or unknown', async () => {
    const sealing = createSealing()
    const kids = [
      '',
      ' ',
      '__proto__',
      'constructor',
      '../../etc/passwd',
      '\0',
      'é',
      'x'.repeat(4096),
      `${sealing.kid} `,
    ]
    for (const kid of kids) {
      const value = await sealedByJose(sealing, { kid })
      expect(sealing.sealer.open('access-token', value).ok).toBe(false)
    }
    expect(sealing.sealer.open('access-token', await sealedByJose(sealing, { kid: 'unknown' }))).toEqual({
      ok: false,
      reason: 'unknown_key',
    })
    for (let round = 0; round < 10_000; round++) {
      const header = { alg: 'dir', enc: 'A256GCM', kid: String(round), typ: 'th1-access-token' }
      sealing.sealer.open('access-token', withHeader('x..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA', header))
    }
    expect(sealing.sealer.open('access-token', sealing.sealer.seal('access-token', tokenOf(sealing))).ok).toBe(true)
  })

  it('[E-KM-05] are refused cleanly when a later release made them', async () => {
    const sealing = createSealing()
    const value = await sealedByJose(sealing, { typ: 'th2-access-token' })
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
  })
})
