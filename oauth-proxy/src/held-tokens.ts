import { createSecretKey } from 'node:crypto'
import { openUnder, type AccessCookieClaims, type ErrorCode, type Ledger, type Logger } from '@token-handler/shared'
import type { AccessToken } from './access-token.ts'
import type { Refusal } from './refusals.ts'

/** An access token that the ledger holds, or why it cannot be had: `access_token_expired` is healed by a refresh. */
export type HeldTokenAnswer =
  | { readonly ok: true; readonly accessToken: string }
  | { readonly ok: false; readonly code: Extract<ErrorCode, 'access_token_expired' | 'store_unavailable'> }

/** What becomes of a request whose token the ledger holds. */
export interface HeldRequest {
  /** Whether nobody waits for the answer any more. */
  readonly isGone: () => boolean
  /** Judges the session again, which may have been ended while its token was fetched. */
  readonly again: () => AccessToken
  readonly go: (accessToken: string) => void
  readonly refuse: (refusal: Refusal) => void
  readonly failed: (error: unknown) => void
}

export interface HeldTokens {
  /** Lets a request go on at once, where the token is in memory, or else as soon as it was fetched. */
  pass(claims: AccessCookieClaims, request: HeldRequest): void
  /**
   * The access token of an admitted session whose cookie only refers to it. Answers at once from memory, and else with a
   * promise, after which the session is to be judged again: it may have been ended meanwhile.
   */
  tokenOf(claims: AccessCookieClaims): HeldTokenAnswer | Promise<HeldTokenAnswer>
}

/** Characters of opened tokens that are kept in memory: some 400 tokens of 20,000. */
const keptCharacters = 8_000_000

const unavailable: HeldTokenAnswer = { ok: false, code: 'store_unavailable' }
const expired: HeldTokenAnswer = { ok: false, code: 'access_token_expired' }

/**
 * Fetches tokens that are too large for cookies, each once for all requests that wait for it, and remembers those used last.
 * Binding, expiry and end of the session are judged by the cookie on every request, whatever is remembered here.
 * @param ledger None where the proxy was given none: then no such token can be had.
 */
export function createHeldTokens(ledger: Pick<Ledger, 'readToken'> | undefined, logger: Logger): HeldTokens {
  // In the order of their last use. A reference is random and belongs to one generation of one session.
  const opened = new Map<string, HeldTokenAnswer & { readonly ok: true }>()
  const asked = new Map<string, Promise<HeldTokenAnswer>>()
  let characters = 0

  function remember(reference: string, answer: HeldTokenAnswer & { readonly ok: true }): void {
    opened.set(reference, answer)
    characters += answer.accessToken.length
    for (const [oldest, { accessToken }] of opened) {
      if (characters <= keptCharacters) break
      opened.delete(oldest)
      characters -= accessToken.length
    }
  }

  async function ask(sid: string, { ref, k }: NonNullable<AccessCookieClaims['held']>): Promise<HeldTokenAnswer> {
    const read = await ledger?.readToken(sid, ref)
    if (read === undefined || read.state === 'unknown') return unavailable
    if (read.state === 'absent') return expired
    const accessToken = openUnder(createSecretKey(Buffer.from(k, 'base64url')), read.sealed)
    if (accessToken === undefined) {
      logger.error({ event: 'held_token_unreadable' }, 'A token that the ledger holds does not open.')
      return expired
    }
    const answer = { ok: true, accessToken } as const
    remember(ref, answer)
    return answer
  }

  async function passLater(
    coming: Promise<HeldTokenAnswer>,
    { isGone, again, go, refuse, failed }: HeldRequest,
  ): Promise<void> {
    try {
      const token = await coming
      if (isGone()) return
      const session = again()
      if (!session.ok) refuse(session)
      else if (token.ok) go(token.accessToken)
      else refuse({ code: token.code, session: session.claims })
    } catch (error) {
      failed(error)
    }
  }

  const heldTokens: HeldTokens = {
    pass(claims, request) {
      const token = heldTokens.tokenOf(claims)
      if (!('ok' in token)) void passLater(token, request)
      else if (token.ok) request.go(token.accessToken)
      else request.refuse({ code: token.code, session: claims })
    },
    tokenOf({ sid, held }) {
      if (held === undefined) return expired
      const { ref } = held
      const known = opened.get(ref)
      if (known !== undefined) {
        opened.delete(ref)
        opened.set(ref, known)
        return known
      }
      let answer = asked.get(ref)
      if (answer === undefined) {
        answer = ask(sid, held).finally(() => asked.delete(ref))
        asked.set(ref, answer)
      }
      return answer
    },
  }
  return heldTokens
}
