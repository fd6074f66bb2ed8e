/** Where to go after the login. */
export const RETURN_TO = 'token-handler:return-to'
/** The call to repeat once the login that is under way succeeds. */
export const CALL_PENDING = 'token-handler:call-pending'
/** The call to repeat now: its login has succeeded. */
export const CALL = 'token-handler:call'

/** Keeps a text for this tab, over page loads; undefined forgets it. */
export function remember(key: string, text: string | undefined): void {
  try {
    if (text === undefined) sessionStorage.removeItem(key)
    else sessionStorage.setItem(key, text)
  } catch {
    // Storage is blocked, as cookies then are; the login has its own error for that.
  }
}

/** The text, once. */
export function take(key: string): string | undefined {
  try {
    const text = sessionStorage.getItem(key) ?? undefined
    sessionStorage.removeItem(key)
    return text
  } catch {
    // As above.
    return undefined
  }
}
