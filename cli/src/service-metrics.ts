import { exposeGauge, type Clock, type KeyRing, type Registry, type Rules, type Sample } from '@token-handler/shared'

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
