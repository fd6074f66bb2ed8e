import { parseRuleKey, type Ledger, type Replica, type Unknown } from '@token-handler/shared'

/** Rules that are listed at most; those about one session each, of which every logout makes one, come last. */
const mostRules = 1000

/** Names of what rules are about, as a revocation names them. */
const targets: Readonly<Record<string, string>> = {
  sid: 'session',
  asid: 'as_session',
  sub: 'subject',
  'sub-without-sid': 'subject_without_session',
  client: 'client',
  kid: 'key',
  all: 'all',
}

/** The rules in force in this process. */
export function listRules(rules: Pick<Ledger['rules'], 'survey'>): Readonly<Record<string, unknown>> {
  const { total, byKind, newest } = rules.survey(mostRules)
  const ordered = newest
    .map((rule) => {
      const { kind, id } = parseRuleKey(rule.key)
      return { ...rule, target: targets[kind] ?? kind, id }
    })
    .toSorted((a, b) => Number(a.target === 'session') - Number(b.target === 'session') || b.expiresAt - a.expiresAt)
  return {
    total,
    by_target: Object.fromEntries(Object.entries(targets).map(([kind, target]) => [target, byKind.get(kind) ?? 0])),
    rules: ordered.slice(0, mostRules).map(({ target, id, before, reason, expiresAt }) => ({
      target,
      ...(id === '' ? {} : { id }),
      // A session's own end needs no instant.
      ...(before >= Number.MAX_SAFE_INTEGER ? {} : { before: new Date(before).toISOString() }),
      reason,
      expires_at: new Date(expiresAt).toISOString(),
    })),
  }
}

/** The processes that were heard of, and how far each has followed the rules. */
export function listReplicas(replicas: readonly Replica[]): Readonly<Record<string, unknown>> {
  return {
    replicas: replicas.map((replica) => ({
      id: replica.id,
      version: replica.version,
      parts: replica.parts,
      host: replica.host,
      pid: replica.pid,
      started_at: new Date(replica.startedAt).toISOString(),
      heard_at: new Date(replica.heardAt).toISOString(),
      silent_seconds: replica.silentForMs / 1000,
      kids: replica.kids,
      rules: replica.rules,
      position: replica.position,
      stale_seconds: replica.staleForMs === null ? null : replica.staleForMs / 1000,
    })),
  }
}

/** Every key that some process opens cookies with, by the processes that do. */
export function listKeys(replicas: readonly Replica[]): Readonly<Record<string, unknown>> {
  const kids = [...new Set(replicas.flatMap((replica) => replica.kids))].toSorted()
  return {
    replicas: replicas.length,
    keys: kids.map((kid) => ({
      kid,
      replicas: replicas.filter((replica) => replica.kids.includes(kid)).map(({ id }) => id),
    })),
  }
}

/** @returns What `list` makes of the processes that were heard of. */
export async function fromReplicas(
  ledger: Ledger,
  list: (replicas: readonly Replica[]) => Readonly<Record<string, unknown>>,
): Promise<Unknown | { readonly state: 'found'; readonly body: Readonly<Record<string, unknown>> }> {
  const found = await ledger.directory.replicas()
  return found.state === 'unknown' ? found : { state: 'found', body: list(found.replicas) }
}
