import { describe, expect, it } from '@jest/globals'
import { errorCatalogue, type ErrorCode } from '@token-handler/shared'

describe('the error catalogue', () => {
  it('has a challenge for every 401, which asks no browser for a password, and for no other status', () => {
    // Its challenge says what this call asks for (RFC 9470 section 3).
    const own: readonly ErrorCode[] = ['step_up_required']
    for (const [code, { status, challenge }] of Object.entries(errorCatalogue)) {
      const expected = status === 401 && !own.includes(code as ErrorCode)
      expect([code, /^Bearer(?: error="invalid_token")?$/.test(challenge ?? '')]).toEqual([code, expected])
    }
  })
})
