/** Parameters of an authorization request that are never the SPA's: they bind the answer to this client and this browser. */
export const reservedAuthorizationParameters: ReadonlySet<string> = new Set(
  `client_id redirect_uri response_type response_mode state nonce code_challenge code_challenge_method
  request request_uri resource client_secret client_assertion client_assertion_type id_token_hint registration
  dpop_jkt code code_verifier grant_type refresh_token iss`.split(/\s+/),
)

/** Parameters of a token request that are never the SPA's. */
export const reservedRefreshParameters: ReadonlySet<string> = new Set(
  `grant_type refresh_token client_id client_secret client_assertion client_assertion_type code code_verifier
  redirect_uri resource subject_token actor_token`.split(/\s+/),
)
