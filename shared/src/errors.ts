/**
 * Every error that the OAuth Agent and the OAuth Proxy answer with: one stable code, its status, and a sentence fit for
 * the browser. The set is closed; docs/errors.md explains each code (a test compares the two).
 */

interface ErrorEntry {
  /** HTTP status of the answer. */
  readonly status: number
  /** Says what is wrong without telling an attacker anything that he does not know. */
  readonly message: string
  /**
   * `WWW-Authenticate` of a 401 (RFC 9110 section 15.5.2); without `error` where nothing may have been shown (RFC 6750
   * section 3.1). Always Bearer: other schemes make browsers ask for a password.
   */
  readonly challenge?: string
}

const invalidToken = 'Bearer error="invalid_token"'

const catalogue = {
  // Refused requests
  invalid_request: { status: 400, message: 'The request is malformed or lacks a parameter.' },
  unknown_state: { status: 400, message: 'This login was not started here, is over, or took too long. Start again.' },
  invalid_logout_token: { status: 400, message: 'The logout token is not valid, or was used before.' },
  untrusted_origin: { status: 403, message: 'The request comes from an origin that is not trusted.' },
  untrusted_gateway: { status: 403, message: 'Only the configured gateways may ask here.' },
  missing_header: { status: 403, message: 'The header token-handler-version: 1 is missing.' },
  cross_site: { status: 403, message: 'The browser marks the request as coming from another site.' },
  untrusted_destination: {
    status: 403,
    message: 'The browser makes this request for something that this route does not serve.',
  },
  missing_origin: { status: 403, message: 'Neither Origin, Referer nor Fetch Metadata show a trusted source.' },
  insufficient_scope: { status: 403, message: 'The session lacks a scope or a claim that this route asks for.' },
  claim_missing: {
    status: 403,
    message: 'The user lacks a claim that this capability is made of, or it cannot be used.',
  },
  not_found: { status: 404, message: 'There is nothing here.' },
  method_not_allowed: { status: 405, message: 'This method is not allowed here.' },
  request_timeout: { status: 408, message: 'The request did not arrive in time.' },
  precondition_failed: { status: 412, message: 'The file is not in the version that was asked for.' },
  payload_too_large: { status: 413, message: 'The request body is too large.' },
  uri_too_long: { status: 414, message: 'The request target is too long.' },
  unsupported_media_type: { status: 415, message: 'Send application/x-www-form-urlencoded or application/json.' },
  range_not_satisfiable: { status: 416, message: 'The file has no such part.' },
  expectation_failed: { status: 417, message: 'Only Expect: 100-continue is understood.' },
  upgrade_required: { status: 426, message: 'Only WebSocket upgrades are understood.' },
  too_many_requests: { status: 429, message: 'Too many requests. Wait before the next one.' },
  too_many_streams: { status: 429, message: 'This session has too many open streams. Close one of them.' },
  headers_too_large: { status: 431, message: 'The request header is too large.' },
  // The session
  session_missing: { status: 401, message: 'There is no session. Log in.', challenge: 'Bearer' },
  session_expired: { status: 401, message: 'The session is over. Log in again.', challenge: 'Bearer' },
  session_ended: { status: 401, message: 'The session was ended. Log in again.', challenge: invalidToken },
  session_superseded: {
    status: 401,
    message: 'These session cookies were replaced by newer ones.',
    challenge: invalidToken,
  },
  access_token_expired: {
    status: 401,
    message: 'The access token is expired. Refresh, then repeat the request.',
    challenge: invalidToken,
  },
  context_changed: {
    status: 401,
    message: 'The session is used from another place than its login. Log in again.',
    challenge: invalidToken,
  },
  // With a challenge that says what is asked for (RFC 9470 section 3).
  step_up_required: { status: 401, message: 'This needs a stronger or a more recent login.' },
  // The authorization server
  access_denied: { status: 400, message: 'The login was refused by the user or the authorization server.' },
  login_required: { status: 400, message: 'The authorization server wants the user to log in.' },
  interaction_required: { status: 400, message: 'The authorization server wants to ask the user something.' },
  authorization_error: { status: 400, message: 'The authorization server refused the request.' },
  authentication_too_weak: { status: 403, message: 'The login does not meet what was asked for (acr or max_age).' },
  authorization_server_error: { status: 502, message: 'The authorization server gave no usable answer.' },
  token_too_large: { status: 502, message: 'The tokens do not fit into cookies.' },
  // Passing trouble
  login_pending: { status: 503, message: 'This login is being finished by another request. Try again shortly.' },
  refresh_pending: { status: 503, message: 'A refresh of this session is under way. Try again shortly.' },
  store_unavailable: { status: 503, message: 'The session ledger cannot be reached. Try again shortly.' },
  audit_unavailable: { status: 503, message: 'What this would lead to cannot be recorded. Try again shortly.' },
  shutting_down: { status: 503, message: 'This server is stopping. Try again.' },
  server_error: { status: 500, message: 'Something went wrong on our side.' },
  // The broker
  capability_unavailable: { status: 502, message: 'The credential cannot be had from the service that it is for.' },
  capability_timeout: { status: 504, message: 'The service that the credential is for did not answer in time.' },
  // The upstream API
  upstream_unavailable: { status: 502, message: 'The API cannot be reached.' },
  upstream_invalid_response: { status: 502, message: 'The API gave an answer that cannot be passed on.' },
  upstream_overloaded: { status: 503, message: 'Too many requests are waiting for the API.' },
  streams_exhausted: { status: 503, message: 'This server has no room for another stream. Try again shortly.' },
  upstream_timeout: { status: 504, message: 'The API did not answer in time.' },
} as const satisfies Record<string, ErrorEntry>

/** The closed set of error codes; see docs/errors.md. */
export type ErrorCode = keyof typeof catalogue

/** All codes with their status and message, for documentation and its tests. */
export const errorCatalogue: Readonly<Record<ErrorCode, ErrorEntry>> = catalogue

export interface ErrorDetails {
  /** What happened, for the log only. */
  readonly cause?: unknown
  /** A sentence for the developer of the SPA; logged, and sent only where detailed errors are configured. Holds no secret. */
  readonly detail?: string
  /** Seconds for `Retry-After` (RFC 9110 section 10.2.3). */
  readonly retryAfterSeconds?: number
  /** Extra response headers, such as `Allow` or `WWW-Authenticate`. */
  readonly headers?: Readonly<Record<string, string>>
}

/** An outcome that the caller is told by a stable code. Anything else that is thrown is our bug and answers `server_error`. */
export class TokenHandlerError extends Error {
  override readonly name = 'TokenHandlerError'
  readonly code: ErrorCode
  readonly status: number
  readonly detail: string | undefined
  readonly retryAfterSeconds: number | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(catalogue[code].message, { cause: details.cause })
    this.code = code
    this.status = catalogue[code].status
    this.detail = details.detail
    this.retryAfterSeconds = details.retryAfterSeconds
    this.headers = details.headers ?? {}
  }
}
