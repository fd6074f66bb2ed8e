import {
  exposeCounter,
  exposeGauge,
  type AuditLog,
  type Clock,
  type KeyRing,
  type Registry,
  type Rules,
  type Sample,
} from '@token-handler/shared'

/** What no part tells of itself: the rules that this process knows, and its keys. */
export function exposeState(
  registry: Registry,
  { rules, keys, clock }: { readonly rules: Rules; readonly keys: () => KeyRing; readonly clock: Clock },
): void {
  const startedAt = clock.monotonic()
  exposeGauge(registry, {
    name: 'token_handler_rules',
    help: 'Rules in force that end sessions.',
    read: () => [[{}, rules.size]],
  })
  exposeGauge(registry, {
    name: 'token_handler_rules_stale_seconds',
    help: 'Time since this process surely knew every rule, or since its start if it never did.',
    read: () => [[{}, Math.min(rules.staleForMs(), clock.monotonic() - startedAt) / 1000]],
  })
  exposeGauge(registry, {
    name: 'token_handler_rules_stale',
    help: '1 while rules may have been missed for too long; the policy says what that means.',
    labelNames: ['policy'],
    read: () => [[{ policy: rules.stalePolicy }, rules.staleForMs() > rules.staleAfterMs ? 1 : 0]],
  })
  exposeGauge(registry, {
    name: 'token_handler_key_active',
    help: '1 for the key that seals, 0 for those that only open.',
    labelNames: ['kid'],
    *read(): Iterable<Sample<'kid'>> {
      for (const { kid, isActive } of keys().keys) yield [{ kid }, isActive ? 1 : 0]
    },
  })
  exposeGauge(registry, {
    name: 'token_handler_key_created_timestamp_seconds',
    help: 'When a key was made, as its file says; since the epoch.',
    labelNames: ['kid'],
    *read(): Iterable<Sample<'kid'>> {
      for (const { kid, createdAt } of keys().keys) {
        if (createdAt !== undefined) yield [{ kid }, createdAt.getTime() / 1000]
      }
    },
  })
}

/** What became of the events for the audit log. */
export function exposeAudit(registry: Registry, audit: Pick<AuditLog, 'counts'>): void {
  exposeCounter(registry, {
    name: 'token_handler_audit_events_total',
    help: 'Events for the audit log: recorded (given to it), written (the sink took them), lost (they found no room).',
    labelNames: ['result'],
    read() {
      const { recorded, written, lost } = audit.counts()
      return [
        [{ result: 'recorded' }, recorded],
        [{ result: 'written' }, written],
        [{ result: 'lost' }, lost],
      ]
    },
  })
  exposeGauge(registry, {
    name: 'token_handler_audit_pending_events',
    help: 'Events that wait to be written to the audit log.',
    read: () => [[{}, audit.counts().pending]],
  })
  exposeGauge(registry, {
    name: 'token_handler_audit_failing',
    help: '1 while the audit log cannot be written.',
    read: () => [[{}, audit.counts().isFailing ? 1 : 0]],
  })
  exposeCounter(registry, {
    name: 'token_handler_audit_write_errors_total',
    help: 'Attempts to write to the audit log that failed.',
    read: () => [[{}, audit.counts().writeErrors]],
  })
  exposeCounter(registry, {
    name: 'token_handler_audit_alerts_total',
    help: 'Alerts that the anomaly rules of the audit log raised.',
    read: () => [[{}, audit.counts().alerts]],
  })
}
