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

/** Longest value of `acr_values`: with longer texts in it, the cookie of a pending login would outgrow its limit. */
export const maxAcrValuesLength = 160
const mostValueLength = 1024
/** RFC 6749 section 3.3. What JSON would escape is not among them, so that lengths stay what they are in the sealed cookie. */
const scopeTokens = /^[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*$/
const formats: Readonly<Record<string, RegExp>> = {
  scope: scopeTokens,
  prompt: /^(?:none|(?:login|consent|select_account|create)(?: (?:login|consent|select_account|create))*)$/,
  acr_values: scopeTokens,
  max_age: /^\d{1,9}$/,
}

/** Whether an authorization request may carry this value, be it the configuration's or the SPA's. */
export function isAuthorizationParameterValue(name: string, value: string): boolean {
  const limit = name === 'acr_values' ? maxAcrValuesLength : mostValueLength
  return value.length <= limit && formats[name]?.test(value) !== false
}
