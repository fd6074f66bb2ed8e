import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { compactDecrypt, EncryptJWT, jwtDecrypt } from 'jose'
import { purposes } from '@token-handler/shared'
import { createSealing, tokenOf, type Token } from './sealing.ts'

const base64url = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

describe('sealed cookie values', () => {
  describe('as any JOSE library sees them', () => {
    it('[E-KM-05] are opened by jose for every purpose', async () => {
      const sealing = createSealing()
      for (const purpose of purposes) {
        const claims = tokenOf(sealing)
        const opened = await compactDecrypt(sealing.sealer.seal(purpose, claims), sealing.keyOf(purpose), {
          keyManagementAlgorithms: ['dir'],
          contentEncryptionAlgorithms: ['A256GCM'],
        })
        expect(JSON.parse(Buffer.from(opened.plaintext).toString())).toEqual(claims)
        expect(opened.protectedHeader).toEqual({
          alg: 'dir',
          enc: 'A256GCM',
          kid: sealing.kid,
          typ: `th1-${purpose}`,
        })
      }
    })

    it('are JWTs that jose judges by their exp', async () => {
      const sealing = createSealing()
      const value = sealing.sealer.seal('id-token', tokenOf(sealing))
      const options = { typ: 'th1-id-token', requiredClaims: ['exp'] }
      const at = (seconds: number): Date => new Date(sealing.clock.now() + seconds * 1000)
      await expect(
        jwtDecrypt(value, sealing.keyOf('id-token'), { ...options, currentDate: at(299) }),
      ).resolves.toBeDefined()
      await expect(
        jwtDecrypt(value, sealing.keyOf('id-token'), { ...options, currentDate: at(300) }),
      ).rejects.toMatchObject({ code: 'ERR_JWT_EXPIRED' })
    })

    it('[E-KM-05] are opened by us when jose sealed them', async () => {
      const sealing = createSealing()
      for (const purpose of purposes) {
        const value = await new EncryptJWT({ at: 'sealed by jose' })
          .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: sealing.kid, typ: `th1-${purpose}` })
          .setExpirationTime(sealing.inSeconds(60))
          .encrypt(sealing.keyOf(purpose))
        expect(sealing.sealer.open(purpose, value)).toEqual({
          ok: true,
          kid: sealing.kid,
          claims: { at: 'sealed by jose', exp: sealing.inSeconds(60) },
        })
      }
    })

    it('keep text of any kind unchanged', () => {
      const sealing = createSealing()
      fc.assert(
        fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
          const opened = sealing.sealer.open<Token>(
            'access-token',
            sealing.sealer.seal('access-token', tokenOf(sealing, text)),
          )
          expect(opened.ok && opened.claims.at).toBe(text)
        }),
      )
    })

    it('[E-CK-09] are as long as what is in them requires, whatever it says', () => {
      const sealing = createSealing()
      const lengthOf = (text: string): number => sealing.sealer.seal('access-token', tokenOf(sealing, text)).length
      for (const bytes of [0, 1, 2, 3, 100, 899, 900, 4000]) {
        const same = new Set([
          lengthOf('a'.repeat(bytes)),
          lengthOf(randomBytes(bytes).toString('hex').slice(0, bytes)),
        ])
        expect([bytes, same.size]).toEqual([bytes, 1])
        expect(lengthOf('a'.repeat(bytes + 300)) - lengthOf('a'.repeat(bytes))).toBe(400)
      }
    })

    it('[D-CK-14] use no character that a cookie would have to quote', () => {
      const sealing = createSealing()
      for (const purpose of purposes) {
        expect(sealing.sealer.seal(purpose, tokenOf(sealing, '; "\\ ,é'))).toMatch(/^[A-Za-z0-9_.-]+$/)
      }
    })
  })

  describe('changed on the way', () => {
    it('[E-GC-04] are refused with one answer whichever character is replaced by whichever other', () => {
      const sealing = createSealing()
      const { sealer } = sealing
      const value = sealer.seal('access-token', { exp: sealing.inSeconds(300) })
      const answers = new Set<string>()
      let tried = 0
      for (let at = 0; at < value.length; at++) {
        for (const other of `${base64url}.`) {
          if (other === value[at]) continue
          answers.add(
            JSON.stringify(sealer.open('access-token', value.slice(0, at) + other + value.slice(at + 1))).slice(0, 11),
          )
          tried++
        }
      }
      expect(tried).toBe(value.length * 64)
      expect([...answers]).toEqual(['{"ok":false'])
    })

    it('[E-GC-04] are refused whichever bit of iv, ciphertext or tag is flipped', () => {
      const sealing = createSealing()
      const value = sealing.sealer.seal('access-token', tokenOf(sealing))
      const parts = value.split('.')
      for (const part of [2, 3, 4]) {
        const bytes = Buffer.from(parts[part] ?? '', 'base64url')
        for (let bit = 0; bit < bytes.length * 8; bit++) {
          const flipped = Buffer.from(bytes)
          flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
          const changed = parts.with(part, flipped.toString('base64url')).join('.')
          expect(sealing.sealer.open('access-token', changed)).toEqual({ ok: false, reason: 'damaged' })
        }
      }
    })

    it.each([0, 4, 8, 12, 13, 15, 17, 32])('[E-GC-03] are refused with a tag of %i bytes', (length) => {
      const sealing = createSealing()
      const parts = sealing.sealer.seal('access-token', tokenOf(sealing)).split('.')
      const tag = Buffer.concat([Buffer.from(parts[4] ?? '', 'base64url'), Buffer.alloc(16)]).subarray(0, length)
      const changed = parts.with(4, tag.toString('base64url')).join('.')
      expect(sealing.sealer.open('access-token', changed)).toEqual({ ok: false, reason: 'damaged' })
    })

    it('[E-GC-03] are refused when the ciphertext grows into a shortened tag', () => {
      const sealing = createSealing()
      const [header = '', , iv = '', ciphertext = '', tag = ''] = sealing.sealer
        .seal('access-token', tokenOf(sealing))
        .split('.')
      const body = ciphertext + tag
      for (let cut = 1; cut < body.length; cut++) {
        if (cut === ciphertext.length) continue
        const changed = `${header}..${iv}.${body.slice(0, cut)}.${body.slice(cut)}`
        expect(sealing.sealer.open('access-token', changed)).toEqual({ ok: false, reason: 'damaged' })
      }
    })

    it.each([0, 1, 8, 11, 13, 16, 64])('are refused with an iv of %i bytes', async (length) => {
      const sealing = createSealing()
      const parts = sealing.sealer.seal('access-token', tokenOf(sealing)).split('.')
      const changed = parts.with(2, randomBytes(length).toString('base64url')).join('.')
      expect(sealing.sealer.open('access-token', changed)).toEqual({ ok: false, reason: 'damaged' })
    })

    it('[E-GC-06] are accepted in one spelling only', () => {
      const sealing = createSealing()
      const value = sealing.sealer.seal('access-token', tokenOf(sealing))
      const parts = value.split('.')
      const spellings = new Set<string>()
      for (const junk of ['!', '=', '==', '\n', ' ', '\t', '+', '/', 'A', '\u{1F600}', '\u0141', '%', '"']) {
        for (let at = 0; at <= value.length; at += 3) spellings.add(value.slice(0, at) + junk + value.slice(at))
        spellings.add(value + junk)
      }
      for (const [index, part] of parts.entries()) {
        const last = base64url.indexOf(part.at(-1) ?? '')
        if (last === -1) continue
        // The bits of the last character that decode to nothing.
        for (let bits = 1; bits < 16; bits++)
          spellings.add(parts.with(index, part.slice(0, -1) + base64url[last ^ bits]).join('.'))
        spellings.add(parts.with(index, `${part}=`).join('.'))
        spellings.add(parts.with(index, part.replaceAll('-', '+').replaceAll('_', '/')).join('.'))
        // Characters that a lax decoder would take for the same byte.
        spellings.add(
          parts
            .with(
              index,
              part.replace(/^./, (first) => String.fromCharCode(first.charCodeAt(0) + 0x100)),
            )
            .join('.'),
        )
      }
      spellings.delete(value)
      for (const spelling of spellings) expect(sealing.sealer.open('access-token', spelling).ok).toBe(false)
      expect(spellings.size).toBeGreaterThan(500)
      expect(sealing.sealer.open('access-token', value).ok).toBe(true)
    })

    it('[D-TO-06] are refused without an exception, whatever they are', () => {
      const { sealer } = createSealing()
      const odd = [
        '',
        '.',
        '....',
        '.....',
        'x',
        'null',
        'j:{"a":1}',
        's:abc.def',
        '%',
        '%E0%A4%A',
        '\0',
        '\uD800',
        'é'.repeat(200),
        'e30....',
        'bnVsbA..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA',
        'W10..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA',
        'x'.repeat(16_384),
        '.'.repeat(16_384),
        `${'A'.repeat(16_384)}..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA`,
      ]
      for (const value of odd) expect(sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
      fc.assert(fc.property(fc.string(), (value) => !sealer.open('access-token', value).ok))
    })
  })

  it('[E-GC-01] [F-MO-2] [A-12] never use an initialization vector twice', () => {
    const sealing = createSealing()
    const claims = tokenOf(sealing)
    const count = 20_000
    const vectors = new Set<string>()
    const ciphertexts = new Set<string>()
    for (let round = 0; round < count; round++) {
      const [, , iv = '', ciphertext = ''] = sealing.sealer.seal('access-token', claims).split('.')
      vectors.add(iv)
      ciphertexts.add(ciphertext)
    }
    expect(vectors.size).toBe(count)
    expect(ciphertexts.size).toBe(count)
    expect(Buffer.from([...vectors][0] ?? '', 'base64url')).toHaveLength(12)
  })
})
