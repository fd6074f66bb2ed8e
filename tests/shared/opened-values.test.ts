import { describe, expect, it } from '@jest/globals'
import { buildKeyRing, createCookieSealer, generateKeyFile } from '@token-handler/shared'
import { OpenedValues } from '../../shared/src/opened-values.ts'
import { fakeClock } from '../support/clock.ts'
import { client, createSealing, tokenOf } from './sealing.ts'

const ring = buildKeyRing(generateKeyFile(new Date()), client)
const purposeKey = ring.sealingKey('access-token')
if (purposeKey === undefined) throw new Error('a new key file seals')

/** As long as a real one, with the tag at the end. */
function valueOf(session: number): string {
  return `header..iv.${'x'.repeat(900)}.${String(session).padStart(22, 'ABCDEFGHIJKLMNOPQRSTUV')}`
}

function remember(values: OpenedValues, session: number): void {
  for (let time = 0; time < 2; time++) values.add(valueOf(session), purposeKey as never, { exp: session })
}

describe('opened values', () => {
  it('are remembered when they are seen for the second time', () => {
    const values = new OpenedValues(10_000)
    values.add(valueOf(1), purposeKey, { exp: 1 })
    expect(values.get(valueOf(1), purposeKey)).toBeUndefined()
    values.add(valueOf(1), purposeKey, { exp: 1 })
    expect(values.get(valueOf(1), purposeKey)).toEqual({ exp: 1 })
  })

  it('are only found by the whole value, not by its tag', () => {
    const values = new OpenedValues(10_000)
    remember(values, 1)
    expect(values.get(valueOf(1).replace('x', 'y'), purposeKey)).toBeUndefined()
  })

  it('are only found for the key that opened them', () => {
    const values = new OpenedValues(10_000)
    remember(values, 1)
    expect(values.get(valueOf(1), { ...purposeKey })).toBeUndefined()
  })

  it('never take more room than they are given, and keep what is used', () => {
    const values = new OpenedValues(valueOf(0).length * 20)
    remember(values, 0)
    for (let session = 1; session <= 1000; session++) {
      remember(values, session)
      expect(values.get(valueOf(0), purposeKey)).toEqual({ exp: 0 })
    }
    const kept = Array.from({ length: 1001 }, (_, session) => values.get(valueOf(session), purposeKey)).filter(
      (claims) => claims !== undefined,
    )
    expect(kept.length).toBeLessThanOrEqual(20)
  })
})

describe('a sealer that remembers what it opened', () => {
  it('[E-CK-01] refuses a remembered value from the second in exp on', () => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('access-token', tokenOf(sealing))
    for (let time = 0; time < 3; time++) expect(sealing.sealer.open('access-token', value).ok).toBe(true)
    sealing.clock.advance(300_000)
    expect(sealing.sealer.open('access-token', value)).toEqual({ ok: false, reason: 'expired' })
  })

  it('[E-DS-01] refuses a remembered value for another purpose', () => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('access-token', tokenOf(sealing))
    for (let time = 0; time < 3; time++) expect(sealing.sealer.open('access-token', value).ok).toBe(true)
    expect(sealing.sealer.open('refresh-token', value)).toEqual({ ok: false, reason: 'wrong_purpose' })
  })

  it('refuses a remembered value in any other spelling', () => {
    const sealing = createSealing()
    const value = sealing.sealer.seal('access-token', tokenOf(sealing))
    for (let time = 0; time < 3; time++) expect(sealing.sealer.open('access-token', value).ok).toBe(true)
    for (let at = 0; at < value.length; at++) {
      const changed = value.slice(0, at) + (value[at] === 'A' ? 'B' : 'A') + value.slice(at + 1)
      expect(sealing.sealer.open('access-token', changed).ok).toBe(false)
    }
  })

  it('forgets what a key opened as soon as the ring is without it', () => {
    const clock = fakeClock()
    const first = generateKeyFile(new Date(clock.now()))
    let current = buildKeyRing(first, client)
    const sealer = createCookieSealer(() => current, clock)
    const value = sealer.seal('access-token', { exp: Math.floor(clock.now() / 1000) + 60 })
    for (let time = 0; time < 3; time++) expect(sealer.open('access-token', value).ok).toBe(true)
    current = buildKeyRing(generateKeyFile(new Date(clock.now())), client)
    expect(sealer.open('access-token', value)).toEqual({ ok: false, reason: 'unknown_key' })
  })
})
