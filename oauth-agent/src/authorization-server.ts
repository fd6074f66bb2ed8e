import { importJWK, importPKCS8, type JWK } from 'jose'
import * as oidc from 'openid-client'
import {
  describeError,
  epochSeconds,
  systemClock,
  TokenHandlerError,
  type Clock,
  type Logger,
  type Registry,
} from '@token-handler/shared'
import type { AuthorizationResponse } from './authorization-response.ts'
import type { Background } from './background.ts'
import { createDiscovery } from './discovery.ts'
import { type IdTokenContext, type WantedAuthentication } from './id-token.ts'
import { verifyLogoutToken, type VerifiedLogoutToken } from './logout-token.ts'
import { createMeasuredFetch, type ServerCall } from './measured-fetch.ts'
import { isLoopbackIssuer } from './metadata.ts'
import type { AuthorizationServerOptions, ClientAuthentication } from './options.ts'
import { judgedAt, recordedFetch, refusalOf, toResponse, type Transcript } from './recorded-call.ts'
import { isOfSession, refreshFailure, type RefreshAnswer, type RefreshedSession } from './refresh-answer.ts'
import { createRevocation, type TokenTypeHint } from './revocation.ts'
import { withinRunningTime } from './running-time.ts'
import type { SignedMessageContext } from './signature.ts'
import { signedResponseProblem } from './signed-response.ts'
import { createSigningKeys, type JwkSet } from './signing-keys.ts'
import { verifyTokens, type IssuedTokens, type LoginTokens, type Tokens } from './tokens.ts'

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
  /** Whether metadata are at hand, and the client's key can be used. */
  isUsable(): boolean
  /** URL of an authorization request; pushed first (RFC 9126) as configured. @throws TokenHandlerError `authorization_server_error` */
  authorizationUrl(parameters: URLSearchParams): Promise<string>
  /** Code challenge of a code verifier (S256, RFC 7636 section 4.2). */
  codeChallenge(codeVerifier: string): Promise<string>
  /**
   * Checks who made an authorization response: its `iss` (RFC 9207), and its signature where it has one (JARM section 2.4).
   * @throws TokenHandlerError `invalid_request`; `authorization_server_error` when the keys cannot be had
   */
  checkResponse(response: Pick<AuthorizationResponse, 'iss' | 'jwt'>): Promise<void>
  /**
   * Redeems the code, once, and verifies the ID token, or else revokes the tokens. Whether the user's authentication is as
   * strong as it has to be, the caller judges.
   * @throws TokenHandlerError `authorization_error`, `authorization_server_error`
   */
  exchangeCode(code: string, iss: string | undefined, pending: PendingAuthorization): Promise<LoginTokens>
  refresh(session: RefreshedSession): Promise<RefreshAnswer>
  /** Verifies a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6). */
  verifyLogoutToken(text: string): Promise<VerifiedLogoutToken>
  /** Revokes in the background (RFC 7009), the refresh token first; tries again while the server is away. */
  revoke(tokens: IssuedTokens): void
  /** End-session URL (OpenID Connect RP-Initiated Logout section 2), if the server is known to have one. */
  endSessionUrl(parameters: Readonly<Record<string, string>>): string | undefined
  close(): void
}

export interface AuthorizationServerDeps {
  readonly options: AuthorizationServerOptions
  readonly background: Background
  readonly clock: Clock
  readonly logger: Logger
  readonly registry: Registry
}

/** Discovery and keys are small and asked for while somebody waits. */
const longestLookupSeconds = 10
/** Seconds; the library leaves the times of an ID token alone then: they are judged by another clock, {@link judgedAt}. */
const anyTime = 1e12

export function createAuthorizationServer(deps: AuthorizationServerDeps): AuthorizationServer {
  const { options, background, clock, logger } = deps
  const issuer = new URL(options.issuer)
  const allowHttp = isLoopbackIssuer(issuer)
  const measuredFetch = createMeasuredFetch(deps.registry, clock)
  const lookupTimeoutSeconds = Math.min(longestLookupSeconds, options.timeoutSeconds)
  let isKeyBroken = false
  const authentication = clientAuthentication(options.clientAuthentication)
  authentication.catch((error: unknown) => {
    isKeyBroken = true
    logger.error({ event: 'client_key_unusable', error: describeError(error) }, 'The client cannot authenticate.')
  })

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
          return toResponse(await measuredFetch('discovery', url, { headers: init.headers, signal }))
        },
        ...(allowHttp ? { execute: [oidc.allowInsecureRequests] } : {}),
      })
      return { ...configuration.serverMetadata() }
    },
  })
  const signingKeys = createSigningKeys(fetchKeys, clock)
  // Anybody can send a logout token; who makes up key ids must not use up what logins may ask for.
  const logoutKeys = createSigningKeys(fetchKeys, clock)

  async function fetchKeys(): Promise<JwkSet> {
    const { jwks_uri: url } = await metadata()
    const { status, text } = await measuredFetch('keys', String(url), {
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
   * @param mayLeave Asked right before the call is sent.
   */
  async function prepare(
    call: ServerCall,
    transcript: Transcript,
    mayLeave?: () => boolean,
  ): Promise<oidc.Configuration> {
    const server = await metadata()
    const configuration = new oidc.Configuration(
      {
        ...server,
        id_token_signing_alg_values_supported: [...options.idTokenAlgorithms],
        authorization_response_iss_parameter_supported:
          options.requireIss || server.authorization_response_iss_parameter_supported === true,
      },
      options.clientId,
      {
        // The library goes by the system's clock.
        [oidc.clockSkew]: epochSeconds(clock) - epochSeconds(systemClock),
        [oidc.clockTolerance]: call === 'refresh' ? anyTime : options.clockSkewSeconds,
      },
      await authentication,
    )
    if (allowHttp) oidc.allowInsecureRequests(configuration)
    oidc.enableNonRepudiationChecks(configuration)
    // The limit is ours: see withinRunningTime.
    configuration.timeout = 0
    const fetch = recordedFetch({
      send: (url, init) =>
        withinRunningTime(options.timeoutSeconds, (signal) => measuredFetch(call, url, { ...init, signal, mayLeave })),
      transcript,
      redirectUri: options.redirectUri,
      signingKeys,
      isIdTokenOptional: call === 'refresh',
      logger,
    })
    configuration[oidc.customFetch] = (url, init) => fetch(url, init as RequestInit)
    return configuration
  }

  /** The tokens that a call brought, after the library accepted them. */
  function tokensOf(
    { tokens }: Transcript,
    result: oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers,
    now: number,
  ): Tokens {
    if (tokens === undefined || result.token_type !== 'bearer') throw new Error('not a bearer token')
    const { clientId, clockSkewSeconds } = options
    const context: IdTokenContext = { clientId, clockSkewSeconds, now }
    return verifyTokens(tokens, result.claims(), context)
  }

  async function checkSignedResponse(jwt: string): Promise<void> {
    const problem = await signedResponseProblem(jwt, { ...signatureContext(), keysFor })
    if (problem === undefined) return
    logger.warn({ event: 'response_refused', security: true, problem }, 'A signed authorization response was refused.')
    throw new TokenHandlerError('invalid_request', { detail: `The authorization response is refused: ${problem}.` })
  }

  async function keysFor(kid: string | undefined): Promise<JwkSet> {
    try {
      return await signingKeys.for(kid)
    } catch (cause) {
      const detail = 'The keys of the authorization server cannot be had.'
      throw new TokenHandlerError('authorization_server_error', { cause, detail, retryAfterSeconds: 5 })
    }
  }

  function signatureContext(): Omit<SignedMessageContext, 'keysFor'> {
    const { issuer: expected, clientId, idTokenAlgorithms: algorithms, clockSkewSeconds } = options
    return { issuer: expected, clientId, algorithms, now: epochSeconds(clock), clockSkewSeconds }
  }

  async function revokeOnce(token: string, hint: TokenTypeHint): Promise<boolean> {
    const transcript: Transcript = {}
    try {
      const server = await discovery.current()
      if (server.revocation_endpoint === undefined) return true
      await oidc.tokenRevocation(await prepare('revocation', transcript), token, { token_type_hint: hint })
      return true
    } catch (error) {
      logger.warn({ event: 'revocation_failed', hint, error: describeError(error) }, 'A token was not revoked.')
      // A client error will be the same next time (RFC 7009 section 2.2.1).
      const status = transcript.answer?.status ?? 500
      return status < 500 && status !== 429
    }
  }
  const revoke = createRevocation(background, revokeOnce)

  function serverError(cause: unknown, detail: string): TokenHandlerError {
    return new TokenHandlerError('authorization_server_error', { cause, detail })
  }

  return {
    start: () => discovery.start(),
    state: () => discovery.state(),
    isUsable: () => discovery.known() !== undefined && !isKeyBroken,

    async authorizationUrl(parameters) {
      const transcript: Transcript = {}
      const configuration = await prepare('push', transcript)
      const server = configuration.serverMetadata()
      // A server that demands them and names no endpoint is in error; going on without them would be the way around.
      const isKnown =
        server.pushed_authorization_request_endpoint !== undefined ||
        server.require_pushed_authorization_requests === true
      const mode = options.pushedAuthorizationRequests
      if (mode === 'off' || (mode === 'auto' && !isKnown)) {
        return oidc.buildAuthorizationUrl(configuration, parameters).href
      }
      try {
        return (await oidc.buildAuthorizationUrlWithPAR(configuration, parameters)).href
      } catch (cause) {
        throw serverError(cause, 'The authorization request could not be pushed.')
      }
    },

    codeChallenge: (codeVerifier) => oidc.calculatePKCECodeChallenge(codeVerifier),

    async checkResponse({ iss, jwt }) {
      if (jwt !== undefined) await checkSignedResponse(jwt)
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
      const configuration = await prepare('code', transcript)
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
        const tokens = tokensOf(transcript, result, epochSeconds(clock))
        if (tokens.idToken === undefined) throw new Error('the ID token is missing')
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

    async refresh(session) {
      const transcript: Transcript = {}
      let configuration: oidc.Configuration
      try {
        configuration = await prepare('refresh', transcript, session.mayLeave)
      } catch (error) {
        logger.warn({ event: 'refresh_not_sent', error: describeError(error) }, 'The authorization server is away.')
        return { outcome: 'not_processed', retryAfterSeconds: undefined }
      }
      const parameters = resourceParameters(options)
      for (const [name, value] of session.parameters) parameters.append(name, value)
      try {
        const result = await oidc.refreshTokenGrant(configuration, session.refreshToken, parameters)
        const issued = tokensOf(transcript, result, judgedAt(transcript, epochSeconds(clock)))
        // Where the answer names no scope, it is the one that was asked for (RFC 6749 section 5.1).
        const tokens = { ...issued, scope: issued.scope ?? parameters.get('scope') ?? undefined }
        return isOfSession(tokens, transcript, session, options.issuer)
          ? { outcome: 'granted', tokens }
          : { outcome: 'not_this_session', revoke: tokens }
      } catch (error) {
        return refreshFailure(transcript, error, logger)
      }
    },

    verifyLogoutToken: (text) =>
      verifyLogoutToken(text, { ...signatureContext(), keysFor: (kid) => logoutKeys.for(kid) }),

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
}

function resourceParameters({ resource }: AuthorizationServerOptions): URLSearchParams {
  return new URLSearchParams(resource.map((value) => ['resource', value]))
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
