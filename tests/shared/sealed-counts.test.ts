import { describe, expect, it } from '@jest/globals'
import { buildKeyRing, createCookieSealer, generateKeyFile, Registry } from '@token-handler/shared'
import { fakeClock } from '../support/clock.ts'
import { parseMetrics } from '../support/metrics.ts'
import { createSealing, tokenOf } from './sealing.ts'

const context = { issuer: 'https://as.example.com', clientId: 'spa' }

describe('metrics of sealed values', () => {
  it('[E-GC-02] count what is sealed under each key, whatever it is for', async () => {
    const clock = fakeClock()
    const registry = new Registry()
    const [first, second] = [generateKeyFile(new Date()), generateKeyFile(new Date())].map((file) => ({
      kid: file.keys[0]?.kid,
      ring: buildKeyRing(file, context),
    }))
    let ring = first?.ring
    const sealer = createCookieSealer(() => ring ?? buildKeyRing(generateKeyFile(new Date()), context), clock, registry)
    const claims = { exp: clock.now() / 1000 + 60 }
    for (const purpose of ['access-token', 'refresh-token', 'id-token'] as const) sealer.seal(purpose, claims)
    ring = second?.ring
    sealer.seal('access-token', claims)
    const series = parseMetrics(await registry.metrics())
    expect(series.get(`token_handler_values_sealed_total{kid="${first?.kid}"}`)).toBe(3)
    expect(series.get(`token_handler_values_sealed_total{kid="${second?.kid}"}`)).toBe(1)
  })

  it('tell which values were remembered', async () => {
    const registry = new Registry()
    const sealing = createSealing()
    const ring = buildKeyRing(sealing.keyFile, context)
    const sealer = createCookieSealer(() => ring, sealing.clock, registry)
    const value = sealer.seal('access-token', tokenOf(sealing))
    for (let count = 0; count < 5; count++) expect(sealer.open('access-token', value).ok).toBe(true)
    expect(sealer.open('access-token', `${value.slice(0, -1)}-`).ok).toBe(false)
    const series = parseMetrics(await registry.metrics())
    expect(series.get('token_handler_cookies_opened_total{how="decrypted"}')).toBe(3)
    expect(series.get('token_handler_cookies_opened_total{how="remembered"}')).toBe(3)
  })
})
