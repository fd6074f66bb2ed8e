/**
 * Codes that the library itself gives. The codes of the OAuth Agent (`error_code`) and of the OAuth Proxy (`code`) pass
 * through unchanged, so a code is any string; the README lists them all.
 */
export type ClientErrorCode =
  | 'network_error'
  | 'timeout'
  | 'invalid_answer'
  | 'unsafe_url'
  | 'origin_not_allowed'
  | 'body_not_repeatable'
  | 'cookies_not_stored'
  | 'step_up_required'
  | 'user_changed'
  | 'stream_refused'
  | 'storage_unreachable'
  | 'storage_stalled'
  | 'storage_busy'
  | 'storage_refused'

/** Where an error came from, as far as HTTP tells. */
export interface ErrorDetails {
  /** HTTP status of the answer, absent when there was none. */
  readonly status?: number
  /** Seconds to wait before the next try (`Retry-After`, RFC 9110 section 10.2.3). */
  readonly retryAfterSeconds?: number
  readonly cause?: unknown
}

/** Base of everything that this library throws; branch on `code`, not on the message. */
export class TokenHandlerClientError extends Error {
  /** Stable: one of {@link ClientErrorCode}, or what the agent or the proxy answered. */
  readonly code: ClientErrorCode | (string & {})
  readonly status?: number
  readonly retryAfterSeconds?: number

  constructor(code: ClientErrorCode | (string & {}), message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause })
    this.name = 'TokenHandlerClientError'
    this.code = code
    if (details.status !== undefined) this.status = details.status
    if (details.retryAfterSeconds !== undefined) this.retryAfterSeconds = details.retryAfterSeconds
  }
}

/** There is no session, or no more: log in again. Nothing was refreshed, and repeating the call cannot help. */
export class SessionEndedError extends TokenHandlerClientError {
  override name = 'SessionEndedError'
}

/** It may work later, after `retryAfterSeconds` if given. The session is as it was. */
export class TemporaryError extends TokenHandlerClientError {
  override name = 'TemporaryError'
}

/**
 * The call asks for a stronger or a more recent login (RFC 9470). `login(error)` logs in with what it asks for;
 * `stepUp` of `@token-handler/client/step-up` repeats the call afterwards.
 */
export class StepUpRequiredError extends TokenHandlerClientError {
  override name = 'StepUpRequiredError'
  /** Authentication contexts, one of which is needed; empty when any will do. */
  readonly acrValues: readonly string[]
  /** Most seconds since the user authenticated; absent when it does not matter. */
  readonly maxAge?: number
  /** The refused call, unread; absent when its body was a stream, or the call was one to the agent. */
  readonly request?: Request

  constructor(challenge: { readonly acrValues: readonly string[]; readonly maxAge?: number }, request?: Request) {
    super('step_up_required', 'This needs a stronger or a more recent login.', { status: 401 })
    this.acrValues = challenge.acrValues
    if (challenge.maxAge !== undefined) this.maxAge = challenge.maxAge
    if (request !== undefined) this.request = request
  }
}

/** Why a browser likely dropped the cookies of a login that the agent completed. */
export type CookiesNotStoredReason =
  /** The agent is reached over plain http outside loopback: Secure cookies are refused. */
  | 'insecure_origin'
  /** Plain http on loopback: Chromium and Firefox store Secure cookies there, Safari does not. */
  | 'insecure_loopback'
  /** The browser says that cookies are switched off. */
  | 'cookies_blocked'
  /** The agent is not same-site with the page, so its SameSite=Strict cookies do not come back. */
  | 'cross_site_agent'
  /** None of these: an extension, a policy, a proxy that dropped `Set-Cookie`, or a cookie over 4096 bytes. */
  | 'unknown'

/** The login succeeded at the agent, but the browser did not keep its cookies (code `cookies_not_stored`). */
export class CookiesNotStoredError extends TokenHandlerClientError {
  override name = 'CookiesNotStoredError'
  readonly reason: CookiesNotStoredReason

  constructor(reason: CookiesNotStoredReason) {
    super('cookies_not_stored', `The browser did not keep the session cookies (${reason}).`)
    this.reason = reason
  }
}
