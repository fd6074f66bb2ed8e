import {
  CookiesNotStoredError,
  TemporaryError,
  TokenHandlerClientError,
  type CookiesNotStoredReason,
} from './errors.ts'
import { createLoginParts, type TokenHandlerClientOptions } from './login-parts.ts'
import { hasAuthorizationResponse, takeReturnTo } from './login.ts'
import { sameOriginPath } from './navigation.ts'

export interface CallbackPageOptions extends TokenHandlerClientOptions {
  /** Turns an error into one or two sentences for the user; the default speaks English. */
  readonly message?: (error: unknown) => string
}

/**
 * All that the callback page does. The document brings elements with these `data-token-handler` attributes:
 * `progress` (hidden on failure), `failure` (shown on failure), and within it `message`, `code` and `start-again` (a link).
 *
 * The page is a document of its own, without the app's bundle and without third-party script: injected script that can
 * read a code and its state here could finish the login in an attacker's browser.
 */
export async function runCallbackPage(options: CallbackPageOptions = {}): Promise<void> {
  const client = createLoginParts(options)
  const home = sameOriginPath(options.defaultReturnTo) ?? '/'
  const handled = hasAuthorizationResponse(location.search)
  try {
    await client.handleCallback()
    // Reloaded in the middle of a login, the page has no query any more, but the path is remembered.
    if (!handled) location.replace(takeReturnTo() ?? home)
  } catch (error) {
    show(error, options.message ?? failureMessage)
    const startAgain = element('start-again')
    if (!(startAgain instanceof HTMLAnchorElement)) return
    const returnTo = takeReturnTo() ?? home
    startAgain.href = returnTo
    startAgain.addEventListener('click', (event) => {
      event.preventDefault()
      client.login({ returnTo }).catch((failure: unknown) => show(failure, options.message ?? failureMessage))
    })
  }
}

function element(name: string): HTMLElement | null {
  return document.querySelector<HTMLElement>(`[data-token-handler="${name}"]`)
}

function show(error: unknown, message: (error: unknown) => string): void {
  const texts = {
    message: message(error),
    code: error instanceof TokenHandlerClientError ? error.code : 'internal_error',
  }
  for (const [name, text] of Object.entries(texts)) {
    const target = element(name)
    if (target !== null) target.textContent = text
  }
  const progress = element('progress')
  const failure = element('failure')
  if (progress !== null) progress.hidden = true
  if (failure !== null) failure.hidden = false
}

const COOKIE_ADVICE: Readonly<Record<CookiesNotStoredReason, string>> = {
  insecure_origin: 'This address is not encrypted (http), so the browser refuses the session cookies. Use https.',
  insecure_loopback: 'This browser keeps no secure cookies over http. Use https, or another browser.',
  cookies_blocked: 'Cookies are switched off in this browser. Allow them for this site, then start again.',
  cross_site_agent: 'This page and the login service are on different sites, so the browser drops the session cookies.',
  unknown: 'The browser did not keep the session cookies. An extension or a privacy setting may block them.',
}

/** English sentences for the errors of a login. */
export function failureMessage(error: unknown): string {
  if (error instanceof CookiesNotStoredError) return COOKIE_ADVICE[error.reason]
  if (error instanceof TemporaryError)
    return 'The login service does not answer just now. Wait a moment, then start again.'
  if (error instanceof TokenHandlerClientError && error.code === 'access_denied') return 'The login was declined.'
  return 'The login could not be completed. A login works once, and for a few minutes.'
}
