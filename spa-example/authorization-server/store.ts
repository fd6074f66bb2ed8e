import type { Adapter, AdapterPayload } from './provider.ts'
import { oidcProvider } from './provider.ts'

/** What oidc-provider keeps: clients, sessions, grants, codes, refresh tokens. In memory, gone with the process. */
export interface Store {
  /** The adapter of one model, as oidc-provider asks for it. */
  adapter(model: string): Adapter
  /** Ends every grant that was made in an authorization server session, and with them its codes and refresh tokens. */
  endSession(sessionUid: string): void
}

interface Entry {
  payload: AdapterPayload
  expiresAt: number
}

const TOKENS = ['AuthorizationCode', 'AccessToken', 'RefreshToken']
const PRUNE_EVERY = 1000

/**
 * Differs from oidc-provider's own memory adapter in three ways: it forgets nothing that has not expired (that one keeps
 * the newest thousand entries), it can end what belongs to a session, and spending a code or refresh token is atomic, so
 * that of two simultaneous uses the second one counts as reuse.
 */
export function createStore(): Store {
  const models = new Map<string, Map<string, Entry>>()
  let writes = 0

  function entries(model: string): Map<string, Entry> {
    const found = models.get(model) ?? new Map<string, Entry>()
    models.set(model, found)
    return found
  }

  function live(model: string, id: string): AdapterPayload | undefined {
    const entry = entries(model).get(id)
    return entry !== undefined && entry.expiresAt > Date.now() ? entry.payload : undefined
  }

  function liveWhere(model: string, matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined {
    const now = Date.now()
    return [...entries(model).values()].find((entry) => entry.expiresAt > now && matches(entry.payload))?.payload
  }

  function revokeTokens(grantId: string): void {
    for (const model of TOKENS) {
      for (const [id, { payload }] of entries(model)) if (payload.grantId === grantId) entries(model).delete(id)
    }
  }

  /** With the grant gone, a token that is being issued at this moment is of no use either. */
  function endGrant(grantId: string): void {
    revokeTokens(grantId)
    entries('Grant').delete(grantId)
  }

  function prune(): void {
    const now = Date.now()
    for (const model of models.values()) {
      for (const [id, { expiresAt }] of model) if (expiresAt <= now) model.delete(id)
    }
  }

  function adapter(model: string): Adapter {
    return {
      upsert: async (id, payload, expiresInSeconds) => {
        if (++writes % PRUNE_EVERY === 0) prune()
        const expiresAt = expiresInSeconds === undefined ? Infinity : Date.now() + expiresInSeconds * 1000
        entries(model).set(id, { payload, expiresAt })
      },
      find: async (id) => live(model, id),
      findByUid: async (uid) => liveWhere(model, (payload) => payload.uid === uid),
      findByUserCode: async (userCode) => liveWhere(model, (payload) => payload.userCode === userCode),
      consume: async (id) => {
        const payload = live(model, id)
        if (payload?.consumed !== undefined && payload.grantId !== undefined) {
          endGrant(payload.grantId)
          throw new oidcProvider.errors.InvalidGrant('used twice at the same time')
        }
        if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000)
      },
      destroy: async (id) => {
        entries(model).delete(id)
      },
      revokeByGrantId: async (grantId) => revokeTokens(grantId),
    }
  }

  return {
    adapter,
    endSession: (sessionUid) => {
      for (const { payload } of TOKENS.flatMap((model) => [...entries(model).values()])) {
        if (payload.sessionUid === sessionUid && payload.grantId !== undefined) endGrant(payload.grantId)
      }
    },
  }
}
