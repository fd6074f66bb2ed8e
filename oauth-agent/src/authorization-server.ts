import { importJWK, importPKCS8, type JWK } from 'jose'
import * as oidc from 'openid-client'
import { describeError, epochSeconds, TokenHandlerError, type Clock, type Logger } from '@token-handler/shared'
import type { Background } from './background.ts'
import { boundedFetch, UnansweredError, type BoundedAnswer } from './bounded-fetch.ts'
import { createDiscovery } from './discovery.ts'
import {
  idTokenProblem,
  isAuthenticatedAsWanted,
  protectedHeader,
  unverifiedPayload,
  type IdTokenClaims,
  type WantedAuthentication,
} from './id-token.ts'
import { isLoopbackIssuer } from './metadata.ts'
import type { AuthorizationServerOptions, ClientAuthentication } from './options.ts'
import { createSigningKeys, type JwkSet } from './signing-keys.ts'
import { oauthErrorOf, parseTokenAnswer, withoutIdToken, type TokenAnswer } from './token-answer.ts'

/** Tokens of one token answer, verified as far as they can be. */
export interface Tokens {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly idToken: { readonly raw: string; readonly claims: IdTokenClaims } | undefined
  /** `undefined`: the server did not say. */
  readonly expiresInSeconds: number | undefined
  /** Granted scope; `undefined` means as asked for (RFC 6749 section 5.1). */
  readonly scope: string | undefined
}

/** Whose session is refreshed; a refreshed ID token must say the same (OpenID Connect Core section 12.2). */
export interface RefreshedSession {
  readonly refreshToken: string
  readonly subject: string
  /** Whether a nonce is the login's; a refreshed ID token need not carry one. */
  readonly isNonce: (nonce: unknown) => boolean
  readonly parameters: URLSearchParams
}

/** What became of a refresh request; rows 4 to 8 of docs/sessions.md. */
export type RefreshAnswer =
  | { readonly outcome: 'granted'; readonly tokens: Tokens }
  /** Row 5: surely not processed. */
  | { readonly outcome: 'not_processed'; readonly retryAfterSeconds: number | undefined }
  /** Row 6: nobody knows. */
  | { readonly outcome: 'unknown' }
  /** Row 8: `invalid_grant`. */
  | { readonly outcome: 'refused' }
  /** Row 13: the answer is about somebody else, or not to be trusted. */
  | { readonly outcome: 'not_this_session'; readonly revoke: IssuedTokens }

/** What must be revoked when an answer is not used. */
export interface IssuedTokens {
  readonly accessToken?: string | undefined
  readonly refreshToken?: string | undefined
}

export interface PendingAuthorization extends WantedAuthentication {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
}

/** The authorization server as the agent sees it. Errors of the network and the protocol library become ours here. */
export interface AuthorizationServer {
  /** Starts discovery, which goes on until it succeeds. */
  start(): void
  state(): 'ok' | 'unavailable' | 'unknown'
  /** Whether metadata are at hand. */
  isKnown(): boolean
  /** URL of an authorization request; pushed first (RFC 9126) as configured. @throws TokenHandlerError `authorization_server_error` */
  authorizationUrl(parameters: URLSearchParams): Promise<string>
  /** Code challenge of a code verifier (S256, RFC 7636 section 4.2). */
  codeChallenge(codeVerifier: string): Promise<string>
  /** Checks `iss` of an authorization response (RFC 9207). @throws TokenHandlerError `invalid_request` */
  checkIssuer(iss: string | undefined): Promise<void>
  /**
   * Redeems the code, once, and verifies the ID token. When anything after the redemption fails, the tokens are revoked.
   * @throws TokenHandlerError `authorization_error`, `authentication_too_weak`, `authorization_server_error`
   */
  exchangeCode(code: string, iss: string | undefined, pending: PendingAuthorization): Promise<Tokens & LoginIdToken>
  refresh(session: RefreshedSession): Promise<RefreshAnswer>
  /** Revokes in the background (RFC 7009), the refresh token first; tries again while the server is away. */
  revoke(tokens: IssuedTokens): void
  /** End-session URL (OpenID Connect RP-Initiated Logout section 2), if the server is known to have one. */
  endSessionUrl(parameters: Readonly<Record<string, string>>): string | undefined
  close(): void
}

export interface LoginIdToken {
  readonly idToken: { readonly raw: string; readonly claims: IdTokenClaims }
}

export interface AuthorizationServerDeps {
  readonly options: AuthorizationServerOptions
  readonly background: Background
  readonly clock: Clock
  readonly logger: Logger
}

/** What one call was seen to do, whatever the library makes of it. */
interface Transcript {
  answer?: BoundedAnswer
  tokens?: TokenAnswer
  failure?: UnansweredError
}

/** Discovery and keys are small and asked for while somebody waits. */
const longestLookupSeconds = 10
const revocationAttempts = 6

export function createAuthorizationServer(deps: AuthorizationServerDeps): AuthorizationServer {
  const { options, background, clock, logger } = deps
  const issuer = new URL(options.issuer)
  const allowHttp = isLoopbackIssuer(issuer)
  const lookupTimeoutSeconds = Math.min(longestLookupSeconds, options.timeoutSeconds)
  let authentication: Promise<oidc.ClientAuth> | undefined

  const discovery = createDiscovery<oidc.ServerMetadata>({
    issuer: options.issuer,
    clock,
    logger,
    discover: async (stopped) => {
      const configuration = await oidc.discovery(issuer, options.clientId, undefined, oidc.None(), {
        algorithm: 'oidc',
        timeout: lookupTimeoutSeconds,
        [oidc.customFetch]: async (url, init) => {
          const signal = AbortSignal.any([stopped, ...(init.signal === undefined ? [] : [init.signal])])
          return toResponse(await boundedFetch(url, { headers: init.headers, signal }))
        },
        ...(allowHttp ? { execute: [oidc.allowInsecureRequests] } : {}),
      })
      return { ...configuration.serverMetadata() }
    },
  })
  const signingKeys = createSigningKeys(fetchKeys, clock)

  async function fetchKeys(): Promise<JwkSet> {
    const { jwks_uri: url } = await metadata()
    const { status, text } = await boundedFetch(String(url), {
      headers: { accept: 'application/json, application/jwk-set+json' },
      signal: AbortSignal.timeout(lookupTimeoutSeconds * 1000),
    })
    const set = status === 200 ? (JSON.parse(text) as JwkSet | null) : null
    if (!Array.isArray(set?.keys)) throw new Error('the key set cannot be used')
    return { keys: set.keys.filter((key: unknown) => typeof key === 'object' && key !== null) }
  }

  async function metadata(): Promise<oidc.ServerMetadata> {
    try {
      return await discovery.current()
    } catch (cause) {
      throw new TokenHandlerError('authorization_server_error', {
        cause,
        detail: 'The metadata of the authorization server cannot be read.',
        retryAfterSeconds: 5,
      })
    }
  }

  /**
   * A configuration of the library for one call, so that this call's answers can be read before and beside it. What must
   * not be left to metadata is overwritten in it.
   */
  async function prepare(transcript: Transcript, isRefresh = false): Promise<oidc.Configuration> {
    const server = await metadata()
    authentication ??= clientAuthentication(options.clientAuthentication)
    const configuration = new oidc.Configuration(
      {
        ...server,
        id_token_signing_alg_values_supported: [...options.idTokenAlgorithms],
        authorization_response_iss_parameter_supported:
          options.requireIss || server.authorization_response_iss_parameter_supported === true,
      },
      options.clientId,
      {
        [oidc.clockSkew]: Math.round((clock.now() - Date.now()) / 1000),
        [oidc.clockTolerance]: options.clockSkewSeconds,
      },
      await authentication,
    )
    if (allowHttp) oidc.allowInsecureRequests(configuration)
    oidc.enableNonRepudiationChecks(configuration)
    configuration.timeout = options.timeoutSeconds
    configuration[oidc.customFetch] = async (url, init) => {
      if (url === server.jwks_uri) {
        return toResponse(jsonAnswer(JSON.stringify(await signingKeys.for(keyIdOf(transcript.tokens)))))
      }
      return recordedFetch(url, init as RequestInit, transcript, isRefresh)
    }
    return configuration
  }

  async function recordedFetch(
    url: string,
    init: RequestInit,
    transcript: Transcript,
    isRefresh: boolean,
  ): Promise<Response> {
    const { body } = init
    // The library takes redirect_uri from the URL that it is handed, normalised and without its query.
    if (body instanceof URLSearchParams && body.has('redirect_uri')) body.set('redirect_uri', options.redirectUri)
    try {
      transcript.answer = await boundedFetch(url, init)
    } catch (error) {
      if (error instanceof UnansweredError) transcript.failure = error
      throw error
    }
    if (transcript.answer.status !== 200) return toResponse(transcript.answer)
    let tokens = parseTokenAnswer(transcript.answer.text)
    if (tokens === undefined) return toResponse(transcript.answer)
    // Keys that cannot be had for a moment are no reason to lose a session; who it is about is checked all the same.
    if (isRefresh && tokens.idToken !== undefined && !(await signingKeys.canServe(keyIdOf(tokens)))) {
      logger.warn({ event: 'signing_keys_unavailable' }, 'The refreshed ID token is left aside.')
      transcript.tokens = tokens
      tokens = withoutIdToken(tokens)
    } else transcript.tokens = tokens
    return toResponse({ ...transcript.answer, text: tokens.text })
  }

  function verified(answer: TokenAnswer, claims: Readonly<Record<string, unknown>> | undefined): Tokens {
    const { accessToken, refreshToken, idToken: raw, expiresInSeconds, scope } = answer
    if (accessToken === undefined) throw new Error('the access token has characters that no header can carry')
    if (raw === undefined || claims === undefined) {
      return { accessToken, refreshToken, idToken: undefined, expiresInSeconds, scope }
    }
    const problem = idTokenProblem({
      idToken: raw,
      claims,
      accessToken,
      clientId: options.clientId,
      now: epochSeconds(clock),
      clockSkewSeconds: options.clockSkewSeconds,
    })
    if (problem !== undefined) throw new Error(`the ID token is refused: ${problem}`)
    return { accessToken, refreshToken, idToken: { raw, claims: claims as IdTokenClaims }, expiresInSeconds, scope }
  }

  function revoke({ refreshToken, accessToken }: IssuedTokens): void {
    if (refreshToken !== undefined) revokeOne(refreshToken, 'refresh_token')
    if (accessToken !== undefined) revokeOne(accessToken, 'access_token')
  }

  function revokeOne(token: string, hint: 'refresh_token' | 'access_token'): void {
    async function attempt(): Promise<boolean> {
      const transcript: Transcript = {}
      try {
        const server = await discovery.current()
        if (server.revocation_endpoint === undefined) return true
        await oidc.tokenRevocation(await prepare(transcript), token, { token_type_hint: hint })
        return true
      } catch (error) {
        logger.warn({ event: 'revocation_failed', hint, error: describeError(error) }, 'A token was not revoked.')
        // A client error will be the same next time (RFC 7009 section 2.2.1).
        const status = transcript.answer?.status ?? 500
        return status < 500 && status !== 429
      }
    }
    background.persist(`revocation of a ${hint}`, attempt, { attempts: revocationAttempts })
  }

  function serverError(cause: unknown, detail: string): TokenHandlerError {
    return new TokenHandlerError('authorization_server_error', { cause, detail })
  }

  return {
    start: () => discovery.start(),
    state: () => discovery.state(),
    isKnown: () => discovery.known() !== undefined,

    async authorizationUrl(parameters) {
      const transcript: Transcript = {}
      const configuration = await prepare(transcript)
      const server = configuration.serverMetadata()
      const isOffered = server.pushed_authorization_request_endpoint !== undefined
      const mode = options.pushedAuthorizationRequests
      if (mode === 'off' || (mode === 'auto' && !isOffered)) {
        return oidc.buildAuthorizationUrl(configuration, parameters).href
      }
      try {
        return (await oidc.buildAuthorizationUrlWithPAR(configuration, parameters)).href
      } catch (cause) {
        throw serverError(cause, 'The authorization request could not be pushed.')
      }
    },

    codeChallenge: (codeVerifier) => oidc.calculatePKCECodeChallenge(codeVerifier),

    async checkIssuer(iss) {
      const server = await metadata()
      const isRequired = options.requireIss || server.authorization_response_iss_parameter_supported === true
      if (iss === undefined ? isRequired : iss !== options.issuer) {
        throw new TokenHandlerError('invalid_request', {
          detail: 'The authorization response does not come from the configured issuer.',
        })
      }
    },

    async exchangeCode(code, iss, pending) {
      const transcript: Transcript = {}
      const configuration = await prepare(transcript)
      const url = new URL(options.redirectUri)
      url.search = new URLSearchParams({ code, state: pending.state, ...(iss === undefined ? {} : { iss }) }).toString()
      try {
        const result = await oidc.authorizationCodeGrant(
          configuration,
          url,
          {
            expectedState: pending.state,
            expectedNonce: pending.nonce,
            pkceCodeVerifier: pending.codeVerifier,
            idTokenExpected: true,
          },
          resourceParameters(options),
        )
        if (result.token_type !== 'bearer' || transcript.tokens === undefined) throw new Error('not a bearer token')
        const tokens = verified(transcript.tokens, result.claims())
        if (tokens.idToken === undefined) throw new Error('the ID token is missing')
        if (!isAuthenticatedAsWanted(tokens.idToken.claims, pending, options.clockSkewSeconds)) {
          throw new TokenHandlerError('authentication_too_weak')
        }
        return { ...tokens, idToken: tokens.idToken }
      } catch (cause) {
        if (transcript.tokens !== undefined) revoke(transcript.tokens)
        if (cause instanceof TokenHandlerError) throw cause
        const oauthError = refusalOf(transcript)
        if (oauthError === 'invalid_grant') {
          throw new TokenHandlerError('authorization_error', { cause, detail: 'The code was not accepted.' })
        }
        throw serverError(cause, 'The code could not be exchanged for tokens that can be trusted.')
      }
    },

    async refresh({ refreshToken, subject, isNonce, parameters }) {
      const transcript: Transcript = {}
      let configuration: oidc.Configuration
      try {
        configuration = await prepare(transcript, true)
      } catch (error) {
        logger.warn({ event: 'refresh_not_sent', error: describeError(error) }, 'The authorization server is away.')
        return { outcome: 'not_processed', retryAfterSeconds: undefined }
      }
      const body = resourceParameters(options)
      for (const [name, value] of parameters) body.append(name, value)
      try {
        const result = await oidc.refreshTokenGrant(configuration, refreshToken, body)
        if (result.token_type !== 'bearer' || transcript.tokens === undefined) throw new Error('not a bearer token')
        const tokens = verified(transcript.tokens, result.claims())
        // An ID token that could not be verified for want of keys still has to name the same user.
        const claims =
          tokens.idToken?.claims ??
          (transcript.tokens.idToken === undefined ? undefined : unverifiedPayload(transcript.tokens.idToken))
        const isSame = (of: Readonly<Record<string, unknown>>): boolean =>
          of['iss'] === options.issuer && of['sub'] === subject && isNonce(of['nonce'])
        if (claims !== undefined && !isSame(claims)) {
          return { outcome: 'not_this_session', revoke: transcript.tokens }
        }
        return { outcome: 'granted', tokens }
      } catch (error) {
        return refreshFailure(transcript, error)
      }
    },

    revoke,

    endSessionUrl(parameters) {
      const server = discovery.known()
      if (server?.end_session_endpoint === undefined) return undefined
      const url = new URL(server.end_session_endpoint)
      for (const [name, value] of Object.entries({ client_id: options.clientId, ...parameters })) {
        url.searchParams.set(name, value)
      }
      return url.href
    },

    close: () => discovery.close(),
  }

  function refreshFailure({ answer, tokens, failure }: Transcript, error: unknown): RefreshAnswer {
    const fields = { status: answer?.status, error: describeError(error) }
    if (answer === undefined) {
      logger.warn({ event: 'refresh_unanswered', ...fields }, 'The refresh got no answer.')
      return failure?.isUnsent === true
        ? { outcome: 'not_processed', retryAfterSeconds: undefined }
        : { outcome: 'unknown' }
    }
    const oauthError = refusalOf({ answer })
    if (oauthError === 'invalid_grant') return { outcome: 'refused' }
    // A success whose content is not to be trusted: nothing of it is used (OpenID Connect Core section 12.2).
    if (tokens?.accessToken !== undefined) {
      logger.error({ event: 'refresh_answer_refused', ...fields }, 'The refreshed tokens are not trusted.')
      return { outcome: 'not_this_session', revoke: tokens }
    }
    logger.warn({ event: 'refresh_failed', ...fields, oauthError }, 'The refresh failed.')
    return answer.status === 429 || (oauthError !== undefined && (answer.status < 500 || answer.status === 503))
      ? { outcome: 'not_processed', retryAfterSeconds: answer.retryAfterSeconds }
      : { outcome: 'unknown' }
  }
}

/** The OAuth error of an answer that is an error; a 200 that says `error` is garbage. */
function refusalOf({ answer }: Transcript): string | undefined {
  return answer !== undefined && answer.status >= 400 ? oauthErrorOf(answer.text) : undefined
}

function keyIdOf(tokens: TokenAnswer | undefined): string | undefined {
  const kid = tokens?.idToken === undefined ? undefined : protectedHeader(tokens.idToken)?.['kid']
  return typeof kid === 'string' ? kid : undefined
}

function resourceParameters({ resource }: AuthorizationServerOptions): URLSearchParams {
  return new URLSearchParams(resource.map((value) => ['resource', value]))
}

function jsonAnswer(text: string): BoundedAnswer {
  return { status: 200, mediaType: 'application/json', retryAfterSeconds: undefined, text }
}

/** An answer for the library; of the headers it gets the media type, so that no challenge hides the OAuth error. */
function toResponse({ status, mediaType, text }: BoundedAnswer): Response {
  const hasBody = status >= 200 && ![204, 205, 304].includes(status)
  return new Response(hasBody ? text : null, { status, headers: { 'content-type': mediaType } })
}

async function clientAuthentication(options: ClientAuthentication): Promise<oidc.ClientAuth> {
  if (options.method !== 'private_key_jwt') {
    const { method, clientSecret } = options
    return method === 'client_secret_basic' ? oidc.ClientSecretBasic(clientSecret) : oidc.ClientSecretPost(clientSecret)
  }
  const { privateKey, algorithm } = options
  const jwk = privateKey.trimStart().startsWith('{') ? (JSON.parse(privateKey) as JWK) : undefined
  const key = jwk === undefined ? await importPKCS8(privateKey, algorithm) : await importJWK(jwk, algorithm)
  const kid = options.kid ?? jwk?.kid
  return oidc.PrivateKeyJwt(kid === undefined ? { key: key as CryptoKey } : { key: key as CryptoKey, kid }, {
    // The library names Ed25519 keys by their new name only (RFC 9864).
    [oidc.modifyAssertion]: (header) => {
      header['alg'] = algorithm
    },
  })
}
