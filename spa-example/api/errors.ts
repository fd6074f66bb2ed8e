/** A refusal: its status, the JSON members `error` and `error_description`, and headers that go with it. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly headers: Record<string, string>

  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.headers = headers
  }
}

const REALM = 'Bearer realm="example-api"'

/** No access token was sent: the challenge then names no error (RFC 6750 section 3.1). */
export function tokenMissing(): ApiError {
  return new ApiError(401, 'token_missing', 'Send an access token.', { 'WWW-Authenticate': REALM })
}

/** The access token is not one of ours, or no longer. */
export function invalidToken(): ApiError {
  const challenge = `${REALM}, error="invalid_token", error_description="The access token is not valid"`
  return new ApiError(401, 'invalid_token', 'The access token is not valid.', { 'WWW-Authenticate': challenge })
}

/** The access token is good, but not for this. */
export function insufficientScope(scope: string): ApiError {
  const challenge = `${REALM}, error="insufficient_scope", scope="${scope}"`
  return new ApiError(403, 'insufficient_scope', `This needs the scope ${scope}.`, { 'WWW-Authenticate': challenge })
}
