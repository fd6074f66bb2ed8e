import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  cookieNames,
  corsHeaders,
  createContextBinding,
  createPeers,
  describeError,
  exposeGauge,
  isPreflight,
  preflightHeaders,
  Registry,
  sessionIdentity,
  silentAuditLog,
  type AccessCookieClaims,
  type AuditEvent,
  type AuditLog,
  type Clock,
  type CookieSealer,
  type Ledger,
  type Logger,
  type Peers,
  type Rules,
  type Sample,
} from '@token-handler/shared'
import { openAccessToken } from './access-token.ts'
import { admit, type Admission, type AdmissionDeps } from './admission.ts'
import { createCors, sendPreflight } from './answers.ts'
import { createBatch, createCallBatch } from './batch.ts'
import { maxTargetLength, parseRequestTarget, targetOf } from './canonical-path.ts'
import { isClientGone } from './client-gone.ts'
import { createForwardAuth } from './forward-auth.ts'
import { Exchange, type ExchangeDeps } from './forward.ts'
import { createHeldTokens } from './held-tokens.ts'
import { OpenExchanges } from './open-exchanges.ts'
import type { OAuthProxyOptions } from './options.ts'
import { exposeOutcomes, Outcomes } from './outcomes.ts'
import { endOverdue } from './overdue.ts'
import { createRateLimiter } from './rate-limit.ts'
import { createRefuse } from './refusals.ts'
import { hasBody } from './request-body.ts'
import { createRequestHeaders, refuseFraming } from './request-headers.ts'
import { createResponseHeaders } from './response-headers.ts'
import { compileRoutes, RouteTable, upstreamTarget, type Route } from './routes.ts'
import { createAdmitContext } from './session-context.ts'
import { Upstreams } from './upstreams.ts'
import { OpenStreams } from './streams.ts'
import type { Tunnel } from './tunnel.ts'
import { createUpgrade } from './upgrade.ts'

export interface OAuthProxyDeps {
  readonly options: OAuthProxyOptions
  readonly sealer: CookieSealer
  readonly rules: Pick<Rules, 'endOf' | 'areStale' | 'onRule'>
  /** The ledger, where tokens may be too large for cookies (`tokens` of the agent). */
  readonly tokens?: Pick<Ledger, 'readToken'> | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** Takes down what is refused; nothing does unless given. */
  readonly audit?: AuditLog
  /** Where metrics are registered; one of its own unless given. Two proxies cannot share one. */
  readonly registry?: Registry
}

export interface OAuthProxy {
  /**
   * Listener for a bare `http.Server`, and Express middleware; put it before body parsers. It returns before the request is
   * judged, which happens at the end of the event loop's turn.
   * @param next Gets the requests that are under no route. Without it they are answered 404.
   */
  handle(req: IncomingMessage, res: ServerResponse, next?: () => void): void
  /** Listener for the event `upgrade` of an `http.Server`. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Ends event streams and WebSockets, which would go on for as long as they like: before a server is drained. */
  endStreams(): void
  /** Answers new requests 503, lets those under way end for a while (10 s unless given), then cuts them and all connections. */
  close(graceMs?: number): Promise<void>
  /** Listener for the gateways' own `http.Server`, where forward auth is configured. Its answers hold tokens: never public. */
  readonly authorize: RequestListener | undefined
}

/**
 * The OAuth Proxy: takes the session's cookie off a request, puts its access token on, and streams both ways.
 * @throws TypeError when a route is not as its options say.
 */
export function createOAuthProxy(deps: OAuthProxyDeps): OAuthProxy {
  const { options, sealer, rules, tokens, clock, logger, audit = silentAuditLog, registry = new Registry() } = deps
  const { publicOrigin, trustedOrigins, cookies, maxWaitingRequests = 1024 } = options
  const publicHost = new URL(publicOrigin).host
  const names = cookieNames(cookies)
  const cors = createCors(trustedOrigins)
  const unrouted = new Outcomes()
  const peers = createPeers(options.trustedProxies)
  const refuse = createRefuse({ cors, logger, audit, peers, unrouted })
  const { perSession, perAddress } = options.rateLimit ?? {}
  const limits = {
    perSession: perSession && createRateLimiter(perSession, clock),
    perAddress: perAddress && createRateLimiter(perAddress, clock),
  }
  const binding = options.context && createContextBinding(options.context, peers)
  const context = binding && createAdmitContext(binding, { audit, logger, peers })
  const admissionDeps: AdmissionDeps = { names, sealer, rules, clock, audit, peers, context, limits }
  const heldTokens = createHeldTokens(tokens, logger)
  const upstreams = new Upstreams((error) =>
    logger.error(
      { event: 'exchange_failed', error: describeError(error) },
      'The end of an exchange was not dealt with.',
    ),
  )
  const compiled = compileRoutes(options, upstreams)
  const routes = new RouteTable(compiled)
  const requestHeaders = createRequestHeaders({
    publicOrigin,
    ownCookiePrefixes: names.ownPrefixes,
    identityHeaders: options.identityHeaders ?? [],
  })
  const streams = new OpenStreams({
    limits: options.streamLimits ?? { perSession: 50, total: 10_000 },
    absoluteSeconds: options.absoluteSeconds,
    clock,
  })
  const exchanges = new OpenExchanges<Exchange | Tunnel>()
  const ended = audit.recordsRequests
    ? (exchange: Exchange | Tunnel) => {
        exchanges.delete(exchange)
        audit.record(requestEvent(exchange, peers))
      }
    : (exchange: Exchange | Tunnel) => exchanges.delete(exchange)
  const exchangeDeps: ExchangeDeps = {
    streams,
    answerBatch: createBatch((exchange) => exchange.passHeld()),
    responseHeaders: createResponseHeaders({
      cors,
      addresses: { routes, publicOrigin, upstreamOrigins: new Set(compiled.map((route) => route.upstreamPool.origin)) },
    }),
    failed: ({ req, res, route }, code, cause) => refuse(req, res, route, { code }, cause),
    brokeOff: ({ req, route }, cause) => {
      route.outcomes.brokeOff++
      logger.warn(
        { event: 'answer_broke_off', route: route.path, method: req.method, cause: describeError(cause) },
        'An answer broke off.',
      )
    },
    ended,
  }
  const upgrade = createUpgrade({
    publicHost,
    routes,
    refuse,
    admission: admissionDeps,
    heldTokens,
    requestHeaders,
    peers,
    streams,
    exchanges,
    tunnels: { ...exchangeDeps, ended },
    maxWaitingRequests,
  })
  exposeOutcomes(
    registry,
    new Map([['none', unrouted], ...compiled.map(({ path, outcomes }) => [path, outcomes] as const)]),
  )
  exposeGauge(registry, {
    name: 'token_handler_proxy_open_requests',
    help: 'Requests to APIs that are under way, streams included.',
    read: () => [[{}, exchanges.size]],
  })
  exposeGauge(registry, {
    name: 'token_handler_proxy_open_streams',
    help: 'Event streams and WebSockets that are open.',
    read: () => [[{}, streams.size]],
  })
  exposeGauge(registry, {
    name: 'token_handler_upstream_waiting_requests',
    help: 'Requests that wait for the beginning of the answer of an API.',
    labelNames: ['upstream'],
    *read(): Iterable<Sample<'upstream'>> {
      for (const [upstream, waiting] of upstreams.waiting()) yield [{ upstream }, waiting]
    },
  })
  const stopListening = rules.onRule((isOver, cause) => {
    const code = cause === 'rule' ? 'session_ended' : 'store_unavailable'
    for (const exchange of exchanges) {
      if (exchange.session !== undefined && isOver(exchange.session)) exchange.endSession(code)
    }
  })
  const stopSweeping = endOverdue(exchanges, options.absoluteSeconds, clock)
  const authorize =
    options.forwardAuth &&
    createForwardAuth({
      options: options.forwardAuth,
      proxyOptions: options,
      routes,
      names,
      unrouted,
      cors,
      audit,
      logger,
      heldTokens,
      admission: admissionDeps,
    })
  const requestBatch = createCallBatch()
  let closing: Promise<void> | undefined

  function serve(req: IncomingMessage, res: ServerResponse, next: (() => void) | undefined): void {
    // Middleware before this one, or the batch, may have taken longer than the client waits; writing to it would be an error.
    if (isClientGone(req, res)) return
    const requestTarget = targetOf(req)
    const isTooLong = requestTarget.length > maxTargetLength
    const target = isTooLong ? undefined : parseRequestTarget(requestTarget, publicHost)
    const match = target === undefined ? undefined : routes.match(target.path)
    if (target === undefined || match?.found !== 'route') {
      const code = isTooLong ? 'uri_too_long' : match?.found === 'nothing' ? 'not_found' : 'invalid_request'
      if (next !== undefined && !routes.claims(requestTarget)) next()
      // Else the browser hides the refusal of the request that follows, and shows a failure of CORS in its place.
      else if (isTrustedPreflight(req)) answerPreflight(req, res, undefined)
      else refuse(req, res, undefined, { code })
      return
    }
    const { route } = match
    const malformed = refuseFraming(req)
    if (malformed !== undefined) refuse(req, res, route, { code: malformed })
    else if (isPreflight(req.method ?? '', req.headers) && !hasBody(req)) answerPreflight(req, res, route)
    else {
      const admission = admit(req, route, admissionDeps, target)
      if (!admission.ok) refuse(req, res, route, admission)
      else {
        const sentTarget = upstreamTarget(route, target.path) + target.query
        const { claims } = admission
        if (claims?.held === undefined) forward(req, res, route, sentTarget, admission, claims?.at)
        else forwardHeld(req, res, route, sentTarget, admission, claims)
      }
    }
  }

  /** The ledger holds the token; most of the time it was fetched before. */
  function forwardHeld(
    req: IncomingMessage,
    res: ServerResponse,
    route: Route,
    sentTarget: string,
    admission: Extract<Admission, { readonly ok: true }>,
    claims: AccessCookieClaims,
  ): void {
    heldTokens.pass(claims, {
      isGone: () => isClientGone(req, res),
      again: () => openAccessToken(req.headers.cookie, admissionDeps),
      go: (accessToken) => forward(req, res, route, sentTarget, admission, accessToken),
      refuse: (refusal) => refuse(req, res, route, refusal),
      failed: (error) => refuse(req, res, route, { code: 'server_error' }, error),
    })
  }

  function answerPreflight(req: IncomingMessage, res: ServerResponse, route: Route | undefined): void {
    const { origin } = req.headers
    if (origin === undefined || !trustedOrigins.has(origin)) refuse(req, res, route, { code: 'untrusted_origin' })
    else {
      const { outcomes, methods } = route ?? { outcomes: unrouted, methods: usualMethods }
      outcomes.preflight()
      sendPreflight(res, {
        ...corsHeaders(origin, trustedOrigins),
        ...preflightHeaders(methods, req.headers['access-control-request-headers']),
      })
    }
  }

  function isTrustedPreflight(req: IncomingMessage): boolean {
    if (!isPreflight(req.method ?? '', req.headers) || hasBody(req) || refuseFraming(req) !== undefined) return false
    return trustedOrigins.has(req.headers.origin ?? '')
  }

  function forward(
    req: IncomingMessage,
    res: ServerResponse,
    route: Route,
    sentTarget: string,
    { claims, kid }: Extract<Admission, { readonly ok: true }>,
    accessToken: string | undefined,
  ): void {
    const { waiting, uploads } = route.upstreamPool
    if (waiting >= maxWaitingRequests || (hasBody(req) && !uploads.makeRoom(maxWaitingRequests))) {
      refuse(req, res, route, { code: 'upstream_overloaded' })
      return
    }
    if (req.readableDidRead && hasBody(req)) throw new Error('the request body was read before the OAuth Proxy got it')
    const built = requestHeaders(req, { route, peer: peers.peerOf(req), accessToken })
    if (!built.ok) {
      refuse(req, res, route, { code: built.code })
      return
    }
    const session = claims === undefined ? undefined : sessionIdentity(claims, kid)
    const exchange = new Exchange(
      { req, res, route, sentTarget, headers: built.headers, accessToken, session, claims },
      exchangeDeps,
    )
    exchanges.add(exchange)
    exchange.start()
  }

  return {
    handle(req, res, next) {
      requestBatch(() => {
        try {
          serve(req, res, next)
        } catch (error) {
          refuse(req, res, undefined, { code: 'server_error' }, error)
        }
      })
    },
    upgrade,
    endStreams: () => streams.stop(),
    authorize,
    close(graceMs = 10_000) {
      streams.stop()
      closing ??= upstreams.close(graceMs).finally(() => {
        stopListening()
        stopSweeping()
      })
      return closing
    },
  }
}

/** What a preflight is told where no route says which methods there are. */
const usualMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/** The record of a request that went to its API; a status that the client never saw is one that no answer had. */
function requestEvent({ request, status }: Exchange | Tunnel, peers: Peers): AuditEvent {
  const { req, route, session } = request
  return {
    event: 'request',
    outcome: status === undefined ? 'failure' : 'success',
    sid: session?.sid,
    subjectHash: session?.subjectHash,
    route: route.path,
    method: req.method,
    status,
    address: peers.clientAddressOf(req),
  }
}
