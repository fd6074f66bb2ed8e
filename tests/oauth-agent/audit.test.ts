import { afterEach, describe, expect, it } from '@jest/globals'
import type { OAuthAgentOptions } from '@token-handler/oauth-agent'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import { startScripted, type Scripted } from './scripted.ts'

describe('what the OAuth Agent records', () => {
  let scripted: Scripted
  let audit: KeptAudit
  afterEach(() => scripted.close())

  async function start(options: Partial<OAuthAgentOptions> = {}): Promise<void> {
    audit = keptAudit()
    scripted = await startScripted({ audit, options })
  }

  it('a call from an untrusted source, by the id that its answer carries', async () => {
    await start()
    const answer = await scripted.agent.browser().post('refresh', undefined, { origin: 'https://evil.example' })
    expect(answer.json).toEqual({ error_code: 'untrusted_origin' })
    expect(audit.events).toEqual([
      {
        event: 'guard_refused',
        outcome: 'refused',
        reason: 'untrusted_origin',
        method: 'POST',
        address: '127.0.0.1',
        correlationId: answer.headers.get('x-request-id'),
      },
    ])
  })

  it('an address that asks too often', async () => {
    await start({ rateLimit: { requests: 1, windowSeconds: 60 } })
    const browser = scripted.agent.browser()
    await browser.post('refresh')
    await browser.post('refresh')
    const limited = audit.events.filter(({ event }) => event === 'rate_limited')
    expect(limited).toMatchObject([{ outcome: 'refused', reason: 'too_many_requests', address: '127.0.0.1' }])
  })
})
