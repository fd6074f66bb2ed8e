import { randomBytes } from 'node:crypto'
import type { Request, RequestHandler, Response } from 'express'
import {
  chunkedCookieValues,
  clearCookieLine,
  allChunkNames,
  cookieTag,
  epochSeconds,
  listCookieNames,
  readSids,
  setCookieLines,
  TokenHandlerError,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type SealedClaims,
} from '@token-handler/shared'
import { addCookies, sendJson } from './answers.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { OAuthAgentOptions } from './options.ts'
import type { PendingLogins } from './pending-login.ts'
import type { SessionCookies } from './session-cookies.ts'
import type { Sessions, ShownSession } from './sessions.ts'

export interface LogoutDeps {
  readonly options: OAuthAgentOptions
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly sessions: Sessions
  readonly cookies: SessionCookies
  readonly pendingLogins: PendingLogins
  readonly authorizationServer: Pick<AuthorizationServer, 'endSessionUrl'>
  readonly clock: Clock
  /** Counts a call by its address; whether that may cause look-ups yet. */
  readonly isWithinLimit: (req: Request, res: Response) => Promise<boolean>
}

/** Carries the ID token from logout to `logout/continue`, past all script. */
interface LogoutClaims extends SealedClaims {
  readonly hint: string
}

const logoutCookieSeconds = 60

/**
 * `POST logout`: ends the session here, clears the cookies, and tells where to end it at the authorization server. Waits
 * for nobody: the tokens are revoked afterwards, and the rule is written again and again if the store is away. Anybody can
 * make up a sid: one that no sealed cookie proves is only looked up, and within the limit of its address.
 */
export function logout(deps: LogoutDeps): RequestHandler {
  const { names, sessions, cookies, pendingLogins, isWithinLimit } = deps
  return async (req, res) => {
    const { cookie: cookieHeader } = req.headers
    const session = sessions.openUnexpired(cookieHeader)
    const sids = readSids(cookieHeader, names)
    let mayLookUp: boolean | undefined
    for (const sid of sids) {
      if (session?.claims.sid === sid) await sessions.endAndRevoke(session.claims, 'logout', true)
      else if (sessions.proves(cookieHeader, sid)) await sessions.end(sid, 'logout', true)
      else if ((mayLookUp ??= await isWithinLimit(req, res))) await sessions.endIfKnown(sid, 'logout')
    }
    const { url, setCookies } = endSession(deps, session)
    const others = [...setCookies, cookies.clearSid(), ...pendingLogins.clearAll(cookieHeader)]
    // Cookies that this browser has come before names that it only could have.
    const besides = [...others, ...cookies.clearForeign(cookieHeader, sids[0], others)]
    const lines = [...others, ...sids.slice(0, 1).flatMap((sid) => cookies.clearTag(sid, cookieHeader, besides))]
    addCookies(res, [...lines, ...cookies.clearForeign(cookieHeader, sids[0], lines)])
    sendJson(res, 200, url === undefined ? {} : { logout_url: url })
  }
}

function endSession(
  { options, names, sealer, authorizationServer, clock }: LogoutDeps,
  session: ShownSession | undefined,
): { url: string | undefined; setCookies: readonly string[] } {
  const { idt: hint, lh: logoutHint } = session?.id ?? {}
  const url = authorizationServer.endSessionUrl({
    ...endSessionParameters(options),
    ...(logoutHint === undefined ? {} : { logout_hint: logoutHint }),
  })
  if (url === undefined || session === undefined || hint === undefined) return { url, setCookies: [] }
  const claims: LogoutClaims = { hint, exp: epochSeconds(clock) + logoutCookieSeconds }
  const setCookies = setCookieLines({
    name: names.logout(cookieTag(session.claims.sid)),
    value: sealer.seal('logout', claims),
    path: '/',
    maxAgeSeconds: logoutCookieSeconds,
  })
  if (setCookies === undefined) return { url, setCookies: [] }
  const base = options.basePath === '/' ? '' : options.basePath
  return { url: `${options.publicOrigin}${base}/logout/continue`, setCookies }
}

function endSessionParameters({ authorizationServer }: OAuthAgentOptions): Record<string, string> {
  const { postLogoutRedirectUri } = authorizationServer
  return {
    ...(postLogoutRedirectUri === undefined ? {} : { post_logout_redirect_uri: postLogoutRedirectUri }),
    state: randomBytes(16).toString('base64url'),
  }
}

/**
 * `GET logout/continue`, the agent's only redirect: goes on to the end-session endpoint with the ID token that script may
 * not see (OpenID Connect RP-Initiated Logout section 2). For navigations only.
 */
export function logoutContinue({
  options,
  names,
  sealer,
  authorizationServer,
}: Pick<LogoutDeps, 'options' | 'names' | 'sealer' | 'authorizationServer'>): RequestHandler {
  return (req, res) => {
    const { cookie: cookieHeader } = req.headers
    const prefix = names.logout('')
    const found = listCookieNames(cookieHeader).filter((name) => name.startsWith(prefix))
    const bases = [...new Set(found.map((name) => name.replace(/\.\d$/, '')))].slice(0, 4)
    const hint = bases
      .flatMap((name) => chunkedCookieValues(cookieHeader, name))
      .map((value) => sealer.open<LogoutClaims>('logout', value))
      .find((opened) => opened.ok)
    const used = bases.flatMap((name) => allChunkNames(name)).filter((name) => found.includes(name))
    addCookies(
      res,
      used.map((name) => clearCookieLine(name, '/')),
    )
    const url =
      hint === undefined
        ? undefined
        : authorizationServer.endSessionUrl({ ...endSessionParameters(options), id_token_hint: hint.claims.hint })
    if (url === undefined)
      throw new TokenHandlerError('invalid_request', { detail: 'There is no logout to go on with.' })
    res.statusCode = 303
    res.setHeader('location', url)
    res.end()
  }
}
