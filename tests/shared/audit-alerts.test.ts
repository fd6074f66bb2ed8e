import { afterEach, describe, expect, it } from '@jest/globals'
import type { AuditEvent } from '@token-handler/shared'
import { quiet, startAudit, type AuditUnderTest } from './audit-kit.ts'

let test: AuditUnderTest
afterEach(() => test.audit.close())

const failed = (address: string): AuditEvent => ({
  event: 'login',
  outcome: 'failure',
  reason: 'unknown_state',
  address,
})
const times = (count: number, event: AuditEvent): void => {
  for (let left = count; left > 0; left--) test.audit.record(event)
}
async function alerts() {
  return (await test.records()).filter(({ event }) => event === 'alert')
}

describe('alerts', () => {
  it('many failed logins from one network, once in a window', async () => {
    test = startAudit({ alerts: { ...quiet, failedLoginsPerNetwork: 5 } })
    times(4, failed('192.0.2.1'))
    times(4, failed('198.51.100.1'))
    expect(await alerts()).toEqual([])
    times(10, failed('192.0.2.200'))
    const expected = { reason: 'failed_logins_per_network', who: { address: '192.0.2.0/24' } }
    expect(await alerts()).toMatchObject([
      { ...expected, details: { rule: 'failed_logins_per_network', count: 5, window_seconds: 300 } },
    ])
    test.clock.advanceSeconds(301)
    times(5, failed('192.0.2.1'))
    expect(await alerts()).toHaveLength(2)
    expect(test.audit.counts().alerts).toBe(2)
    expect(test.log.events()).toContain('audit_alert')
  })

  it('many failed logins from everywhere', async () => {
    test = startAudit({ alerts: { ...quiet, failedLogins: 20 } })
    for (let at = 0; at < 30; at++) times(1, failed(`192.0.${at}.1`))
    expect(await alerts()).toMatchObject([{ reason: 'failed_logins' }])
  })

  it('replaced cookies that are shown again, the repeated ones too', async () => {
    test = startAudit({ alerts: { ...quiet, superseded: 3 } })
    times(3, { event: 'session_superseded', outcome: 'refused', sid: 's', subject: 'user-1' })
    const subject = (await test.records())[1]?.who?.subject
    expect(await alerts()).toMatchObject([{ reason: 'superseded', who: { subject } }])
  })

  it('a refresh from another network than the last time', async () => {
    test = startAudit({ alerts: { ...quiet, newNetwork: true } })
    const session = { outcome: 'success', sid: 's', subject: 'user-1' } as const
    test.audit.record({ ...session, event: 'login', address: '192.0.2.1' })
    test.audit.record({ ...session, event: 'refresh', address: '192.0.2.9' })
    expect(await alerts()).toEqual([])
    test.audit.record({ ...session, event: 'refresh', address: '2001:db8::1' })
    test.audit.record({ ...session, event: 'refresh', address: '192.0.2.1' })
    expect(await alerts()).toMatchObject([
      { reason: 'new_network', details: { expected: '192.0.2.0/24', seen: '2001:db8::/56' } },
    ])
    test.audit.record({ ...session, event: 'logout' })
    test.audit.record({ ...session, event: 'refresh', address: '203.0.113.1' })
    expect(await alerts()).toHaveLength(1)
  })

  it('a burst of capabilities for one user', async () => {
    test = startAudit({ alerts: { ...quiet, capabilitiesPerSubject: 10 } })
    const capability = { event: 'capability', outcome: 'success', capability: 'upload' } as const
    times(9, { ...capability, subject: 'user-1' })
    times(9, { ...capability, subject: 'user-2' })
    expect(await alerts()).toEqual([])
    times(9, { ...capability, subject: 'user-2' })
    expect(await alerts()).toMatchObject([{ reason: 'capabilities_per_subject', capability: 'upload' }])
  })

  it('none where every rule is off, however many there are', async () => {
    test = startAudit({ bufferSize: 100_000 })
    times(500, failed('192.0.2.1'))
    expect(await alerts()).toEqual([])
  })
})
