import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  cookieNames,
  corsHeaders,
  describeError,
  errorCatalogue,
  isPreflight,
  preflightHeaders,
  refuseSource,
  sessionIdentity,
  type AccessCookieClaims,
  type Clock,
  type CookieSealer,
  type ErrorCode,
  type Logger,
  type Rules,
} from '@token-handler/shared'
import { openAccessToken } from './access-token.ts'
import { createCors, sendError, sendPreflight, type HeaderLines } from './answers.ts'
import { maxTargetLength, parseRequestTarget } from './canonical-path.ts'
import { Exchange, type ExchangeDeps } from './forward.ts'
import type { OAuthProxyOptions } from './options.ts'
import { createPeerJudge } from './peer.ts'
import { refuseByPolicy } from './policy.ts'
import { hasBody } from './request-body.ts'
import { createRequestHeaders, refuseFraming } from './request-headers.ts'
import { createResponseHeaders } from './response-headers.ts'
import { compileRoutes, RouteTable, upstreamTarget, type Route } from './routes.ts'
import { Upstreams } from './upstreams.ts'
import { refuseUpgrade } from './upgrade.ts'

export interface OAuthProxyDeps {
  readonly options: OAuthProxyOptions
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf' | 'onRule'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface OAuthProxy {
  /**
   * Listener for a bare `http.Server`, and Express middleware; put it before body parsers.
   * @param next Gets the requests that are under no route. Without it they are answered 404.
   */
  handle(req: IncomingMessage, res: ServerResponse, next?: () => void): void
  /** Listener for the event `upgrade` of an `http.Server`. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Answers new requests 503, lets those under way end for a while (10 s unless given), then cuts them and all connections. */
  close(graceMs?: number): Promise<void>
}

/** Why a request is not served, and the headers that go with the answer. */
interface Refusal {
  readonly code: ErrorCode
  readonly headers?: HeaderLines
}

/**
 * The OAuth Proxy: takes the session's cookie off a request, puts its access token on, and streams both ways.
 * @throws TypeError when a route is not as its options say.
 */
export function createOAuthProxy({ options, sealer, rules, clock, logger }: OAuthProxyDeps): OAuthProxy {
  const { publicOrigin, trustedOrigins, cookies, maxWaitingRequests = 1024 } = options
  const publicHost = new URL(publicOrigin).host
  const ownOriginTrusted = trustedOrigins.has(publicOrigin)
  const names = cookieNames(cookies)
  const cors = createCors(trustedOrigins)
  const peerOf = createPeerJudge(options.trustedProxies)
  const upstreams = new Upstreams()
  const routes = new RouteTable(compileRoutes(options.routes, upstreams))
  const requestHeaders = createRequestHeaders({
    publicOrigin,
    ownCookiePrefixes: names.ownPrefixes,
    identityHeaders: options.identityHeaders ?? [],
  })
  const exchanges = new Set<Exchange>()
  const exchangeDeps: ExchangeDeps = {
    responseHeaders: createResponseHeaders({
      cors,
      addresses: { routes, publicOrigin, upstreamOrigins: new Set(options.routes.map(({ upstream }) => upstream)) },
    }),
    failed: ({ req, res, route }, code, cause) => refuse(req, res, route, { code }, cause),
    brokeOff: ({ req, route }, cause) => {
      logger.warn(
        { event: 'answer_broke_off', route: route.path, method: req.method, cause: describeError(cause) },
        'An answer broke off.',
      )
    },
    ended: (exchange) => exchanges.delete(exchange),
  }
  const stopListening = rules.onRule((isOver) => {
    for (const exchange of exchanges) {
      if (exchange.session !== undefined && isOver(exchange.session)) exchange.endSession()
    }
  })
  let closing: Promise<void> | undefined

  function serve(req: IncomingMessage, res: ServerResponse, next: (() => void) | undefined): void {
    // Middleware before this one may have taken longer than the client waits; writing to it would be an error.
    if (res.destroyed) return
    const requestTarget = targetOf(req)
    if (requestTarget.length > maxTargetLength) {
      refuse(req, res, undefined, { code: 'uri_too_long' })
      return
    }
    const target = parseRequestTarget(requestTarget, publicHost)
    const match = target === undefined ? undefined : routes.match(target.path)
    if (target === undefined || match?.found !== 'route') {
      if (next !== undefined && !routes.claims(requestTarget)) next()
      else refuse(req, res, undefined, { code: match?.found === 'nothing' ? 'not_found' : 'invalid_request' })
      return
    }
    const { route } = match
    const malformed = refuseFraming(req)
    if (malformed === undefined && isPreflight(req.method ?? '', req.headers) && !hasBody(req)) {
      answerPreflight(req, res, route)
      return
    }
    const refusal = malformed === undefined ? refuseRequest(req, route) : { code: malformed }
    if (refusal !== undefined) {
      refuse(req, res, route, refusal)
      return
    }
    const claims = route.session === 'required' ? openSession(req, res, route) : undefined
    if (claims === 'refused') return
    forward(req, res, route, upstreamTarget(route, target.path) + target.query, claims)
  }

  function answerPreflight(req: IncomingMessage, res: ServerResponse, route: Route): void {
    const { origin } = req.headers
    if (origin === undefined || !trustedOrigins.has(origin)) refuse(req, res, route, { code: 'untrusted_origin' })
    else {
      sendPreflight(res, {
        ...corsHeaders(origin, trustedOrigins),
        ...preflightHeaders(route.methods, req.headers['access-control-request-headers']),
      })
    }
  }

  /** What can be judged without the session, and before the body is asked for. */
  function refuseRequest(req: IncomingMessage, route: Route): Refusal | undefined {
    const { method = '', headers } = req
    if (closing !== undefined) return { code: 'shutting_down' }
    if (!route.allowedMethods.has(method)) return { code: 'method_not_allowed', headers: ['allow', route.allow] }
    const untrusted = refuseSource(
      { method, headers },
      { trustedOrigins, ownOriginTrusted, navigable: route.navigable, embeddable: route.embeddable },
    )
    if (untrusted !== undefined) return { code: untrusted }
    const length = Number(headers['content-length'] ?? 0)
    return route.maxBodyBytes !== undefined && length > route.maxBodyBytes ? { code: 'payload_too_large' } : undefined
  }

  function openSession(req: IncomingMessage, res: ServerResponse, route: Route): AccessCookieClaims | 'refused' {
    const token = openAccessToken(req.headers.cookie, { names, sealer, rules })
    if (!token.ok) {
      refuse(req, res, route, { code: token.code })
      return 'refused'
    }
    const insufficient = refuseByPolicy(token.claims, route, clock)
    if (insufficient === undefined) return token.claims
    refuse(req, res, route, { code: insufficient.code, headers: ['www-authenticate', insufficient.challenge] })
    return 'refused'
  }

  function forward(
    req: IncomingMessage,
    res: ServerResponse,
    route: Route,
    sentTarget: string,
    claims: AccessCookieClaims | undefined,
  ): void {
    if (route.upstreamPool.waiting >= maxWaitingRequests) {
      refuse(req, res, route, { code: 'upstream_overloaded' })
      return
    }
    if (req.readableDidRead && hasBody(req)) throw new Error('the request body was read before the OAuth Proxy got it')
    const accessToken = claims?.at
    const built = requestHeaders(req, { route, peer: peerOf(req), accessToken })
    if (!built.ok) {
      refuse(req, res, route, { code: built.code })
      return
    }
    const session = claims === undefined ? undefined : sessionIdentity(claims)
    const exchange = new Exchange(
      { req, res, route, sentTarget, headers: built.headers, accessToken, session },
      exchangeDeps,
    )
    exchanges.add(exchange)
    exchange.start()
  }

  /** Answers an error and leaves one line about it: codes and the route's path, never what the client sent. */
  function refuse(
    req: IncomingMessage,
    res: ServerResponse,
    route: Route | undefined,
    { code, headers = [] }: Refusal,
    cause?: unknown,
  ): void {
    const requestId = randomUUID()
    const { status } = errorCatalogue[code]
    const level = status < 500 ? 'info' : status === 500 ? 'error' : 'warn'
    logger[level](
      {
        event: 'request_refused',
        code,
        status,
        method: req.method,
        route: route?.path,
        requestId,
        ...(cause === undefined ? {} : { cause: describeError(cause) }),
      },
      'A request was refused.',
    )
    sendError(req, res, code, [
      ...cors(req.headers.origin),
      ...(usualHeaders.get(code) ?? []),
      ...headers,
      'x-request-id',
      requestId,
    ])
  }

  return {
    handle(req, res, next) {
      try {
        serve(req, res, next)
      } catch (error) {
        refuse(req, res, undefined, { code: 'server_error' }, error)
      }
    },
    upgrade(req, socket) {
      const code = refuseUpgrade(req, socket)
      logger.info(
        { event: 'request_refused', code, method: req.method, requestId: randomUUID() },
        'A request was refused.',
      )
    },
    close(graceMs = 10_000) {
      stopListening()
      closing ??= upstreams.close(graceMs)
      return closing
    },
  }
}

/** What RFC 9110 asks for beside a status, and RFC 6750 section 3.1: nothing is wrong with a token that was not there. */
const usualHeaders = new Map<ErrorCode, HeaderLines>([
  ['session_missing', ['www-authenticate', 'Bearer']],
  ['access_token_expired', ['www-authenticate', 'Bearer error="invalid_token"']],
  ['session_ended', ['www-authenticate', 'Bearer error="invalid_token"']],
  ['upgrade_required', ['upgrade', 'websocket', 'connection', 'upgrade']],
  ['upstream_overloaded', ['retry-after', '1']],
  ['shutting_down', ['retry-after', '1']],
])

/** The target as it came: Express takes the path that a middleware is mounted on off `url`. */
function targetOf(req: IncomingMessage & { originalUrl?: string }): string {
  return req.originalUrl ?? req.url ?? ''
}
