/**
 * ID-token claims that no page is shown, whatever is configured: they tie the token to its login and to other tokens, or name
 * the session at the authorization server, by which it can be ended.
 */
export const hiddenClaims: readonly string[] = ['nonce', 'at_hash', 'c_hash', 's_hash', 'sid']
