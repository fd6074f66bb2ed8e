import type { RequestHandler } from 'express'
import {
  isAuthorizationParameterValue,
  reservedAuthorizationParameters,
  TokenHandlerError,
} from '@token-handler/shared'
import { addCookies, sendJson } from './answers.ts'
import type { AuthorizationServer } from './authorization-server.ts'
import type { OAuthAgentOptions } from './options.ts'
import { allowedParameters, parametersOf } from './parameters.ts'
import type { PendingLogins } from './pending-login.ts'
import type { SessionCookies } from './session-cookies.ts'

/** Parameters that every SPA may add to an authorization request (OpenID Connect Core section 3.1.2.1). */
const wellKnown = ['scope', 'prompt', 'ui_locales', 'login_hint', 'acr_values', 'max_age']

/** `POST login/start`: builds the authorization request (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core). */
export function loginStart({
  options,
  pendingLogins,
  authorizationServer,
  cookies,
}: {
  readonly options: OAuthAgentOptions
  readonly pendingLogins: PendingLogins
  readonly authorizationServer: Pick<AuthorizationServer, 'authorizationUrl' | 'codeChallenge'>
  readonly cookies: Pick<SessionCookies, 'clearLeftovers'>
}): RequestHandler {
  const fixed = fixedParameters(options)
  const allowed = new Set([...wellKnown.filter((name) => !Object.hasOwn(fixed, name)), ...configuredNames(options)])
  const required = options.authorizationServer.requiredAuthentication?.acr ?? []
  return async (req, res) => {
    const asked = allowedParameters(parametersOf(req), allowed)
    checkValues(asked)
    const extra = new URLSearchParams({ ...fixed, ...Object.fromEntries(asked) })
    const scope = scopeOf(extra, options)
    const { login, setCookies } = pendingLogins.begin(req.headers.cookie, {
      acrValues: extra.get('acr_values') ?? undefined,
      maxAgeSeconds: extra.has('max_age') ? Number(extra.get('max_age')) : undefined,
      scope: scope === options.authorizationServer.scope ? undefined : scope,
    })
    const request = new URLSearchParams({
      response_type: 'code',
      redirect_uri: options.authorizationServer.redirectUri,
      scope,
      state: login.state,
      nonce: login.nonce,
      code_challenge: await authorizationServer.codeChallenge(login.codeVerifier),
      code_challenge_method: 'S256',
    })
    if (options.authorizationServer.responseMode === 'jwt') request.set('response_mode', 'jwt')
    for (const resource of options.authorizationServer.resource) request.append('resource', resource)
    if (required.length > 0) request.set('acr_values', required.join(' '))
    for (const [name, value] of extra) if (name !== 'scope') request.set(name, value)
    const url = await authorizationServer.authorizationUrl(request)
    addCookies(res, [...setCookies, ...cookies.clearLeftovers(req.headers.cookie, setCookies)])
    sendJson(res, 200, { authorization_url: url })
  }
}

/** @throws Error when the configuration gives the SPA a parameter that is ours. */
function configuredNames({ authorizationParameters }: OAuthAgentOptions): readonly string[] {
  const refused = authorizationParameters.find((name) => reservedAuthorizationParameters.has(name))
  if (refused !== undefined) throw new Error(`authorization parameter ${refused} cannot be left to the SPA`)
  return authorizationParameters
}

/** @throws Error when the configuration sets a parameter that is ours. */
function fixedParameters({ authorizationServer }: OAuthAgentOptions): Readonly<Record<string, string>> {
  const { authorizationParameters = {} } = authorizationServer
  const refused = Object.keys(authorizationParameters).find(
    (name) => name === 'scope' || reservedAuthorizationParameters.has(name),
  )
  if (refused !== undefined) throw new Error(`authorization parameter ${refused} is set by the agent`)
  return authorizationParameters
}

function checkValues(asked: URLSearchParams): void {
  for (const [name, value] of asked) {
    if (!isAuthorizationParameterValue(name, value)) {
      throw new TokenHandlerError('invalid_request', { detail: `The value of ${name} is malformed or too long.` })
    }
  }
}

/** What the SPA asks for replaces the configured scope; without `openid` there would be nobody logged in. */
function scopeOf(extra: URLSearchParams, { authorizationServer }: OAuthAgentOptions): string {
  const scope = extra.get('scope') ?? authorizationServer.scope
  return scope.split(' ').includes('openid') ? scope : `openid ${scope}`
}
