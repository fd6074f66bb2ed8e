import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { CompactEncrypt, compactDecrypt } from 'jose'
import { openUnder, sealUnder } from '@token-handler/shared'

describe('text sealed under a key of its own', () => {
  const key = createSecretKey(randomBytes(32))

  it('opens with that key, in jose too', async () => {
    const sealed = sealUnder(key, 'successor')
    expect(openUnder(key, sealed)).toBe('successor')
    const opened = await compactDecrypt(sealed, key.export())
    expect(Buffer.from(opened.plaintext).toString()).toBe('successor')
  })

  it('does not open with another key', () => {
    expect(openUnder(createSecretKey(randomBytes(32)), sealUnder(key, 'successor'))).toBeUndefined()
  })

  it('does not open changed, cut or with another header', async () => {
    const sealed = sealUnder(key, 'successor')
    for (let at = 0; at < sealed.length; at++) {
      const other = sealed[at] === 'A' ? 'B' : 'A'
      expect(openUnder(key, sealed.slice(0, at) + other + sealed.slice(at + 1))).toBeUndefined()
      expect(openUnder(key, sealed.slice(0, at))).toBeUndefined()
    }
    // The low byte of this character is the one that it replaces.
    expect(openUnder(key, String.fromCharCode(sealed.charCodeAt(0) + 0x100) + sealed.slice(1))).toBeUndefined()
    const foreign = await new CompactEncrypt(Buffer.from('successor'))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: 'k' })
      .encrypt(key.export())
    expect(openUnder(key, foreign)).toBeUndefined()
    expect(openUnder(key, '')).toBeUndefined()
  })

  it('keeps an empty text and a very long one', () => {
    for (const text of ['', 'x'.repeat(100_000)]) expect(openUnder(key, sealUnder(key, text))).toBe(text)
  })
})
