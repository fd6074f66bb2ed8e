import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type Express, type RequestHandler } from 'express'
import helmet from 'helmet'
import {
  cookieNames,
  corsHeaders,
  createContextBinding,
  createPeers,
  isPreflight,
  preflightHeaders,
  refusalEvent,
  refuseSource,
  Registry,
  silentAuditLog,
  strictTransportSeconds,
  TokenHandlerError,
  type AuditLog,
  type Clock,
  type CookieSealer,
  type ErrorCode,
  type Ledger,
  type Logger,
} from '@token-handler/shared'
import { capability, jwks } from './capabilities/capability.ts'
import { createCapabilitySigner } from './capabilities/signing.ts'
import { createAuthorizationServer } from './authorization-server.ts'
import { createAuditTrail, type AuditTrail } from './audit-trail.ts'
import { backchannelLogout } from './backchannel-logout.ts'
import { createBackground } from './background.ts'
import { answerErrors, correlate } from './errors.ts'
import { createCodeRedemption } from './code-redemption.ts'
import { loginEnd } from './login-end.ts'
import { loginStart } from './login-start.ts'
import { logout, logoutContinue } from './logout.ts'
import { createAgentMetrics } from './metrics.ts'
import type { OAuthAgentOptions } from './options.ts'
import { readBody } from './parameters.ts'
import { createPendingLogins } from './pending-login.ts'
import { isWithin, limitByAddress } from './rate-limit.ts'
import { createRefreshProtocol } from './refresh-protocol.ts'
import { refresh } from './refresh.ts'
import { createSessionContext } from './session-context.ts'
import { createSessionCookies } from './session-cookies.ts'
import { session } from './session.ts'
import { createSessions } from './sessions.ts'

export interface OAuthAgentDeps {
  readonly options: OAuthAgentOptions
  readonly sealer: CookieSealer
  readonly ledger: Ledger
  readonly clock: Clock
  readonly logger: Logger
  /** Takes down what is issued and refused; nothing does unless given. */
  readonly audit?: AuditLog
  /** Where metrics are registered; one of its own unless given. Two agents cannot share one. */
  readonly registry?: Registry
}

export interface Readiness {
  /** Whether logins can work: the authorization server's metadata were read at least once, and the client's key is one. */
  readonly ready: boolean
  /** How the last look at the metadata went; `unknown` before the first one. */
  readonly authorizationServer: 'ok' | 'unavailable' | 'unknown'
}

/** The confidential client of a single-page application: runs the code flow, issues, refreshes and clears its cookies. */
export interface OAuthAgent {
  /**
   * Serves everything under the base path: as the listener of a server, or mounted in an Express app with or without a
   * prefix. Requests for other paths go to `next`, or are answered 404 where there is none.
   */
  readonly handler: (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void) => void
  ready(): Readiness
  /** Begins to read the authorization server's metadata, again and again until it can be read. Returns at once. */
  start(): void
  /** Waits for calls to the authorization server and the ledger that are under way; takes no new work to repeat. */
  close(): Promise<void>
}

const ordinaryBodyBytes = 16 * 1024
/** Authorization responses may be long. */
const responseBodyBytes = 64 * 1024
/** Asking for the session costs the authorization server nothing, and every page does it. */
const sessionRequestsFactor = 10

/** @throws Error when the options contradict themselves. */
export function createOAuthAgent(deps: OAuthAgentDeps): OAuthAgent {
  const { options, logger, audit = silentAuditLog, registry = new Registry() } = deps
  if (options.basePath !== options.cookies.agentPath) throw new Error('basePath and cookies.agentPath differ')
  const names = cookieNames(options.cookies)
  const background = createBackground(logger)
  const metrics = createAgentMetrics(registry)
  const peers = createPeers(options.trustedProxies ?? [])
  const trail = createAuditTrail(audit, peers)
  const authorizationServer = createAuthorizationServer({
    ...deps,
    options: options.authorizationServer,
    background,
    registry,
  })
  const binding = options.context && createContextBinding(options.context, peers)
  const parts = {
    ...deps,
    context: createSessionContext({ binding, audit: trail.audit, logger }),
    metrics,
    audit: trail.audit,
    names,
    background,
    authorizationServer,
    peers,
    pendingLogins: createPendingLogins({ ...deps, names }),
    cookies: createSessionCookies({ ...deps, names }),
  }
  const sessions = createSessions(parts)
  const protocol = createRefreshProtocol({
    ...parts,
    sessions,
    issuer: options.authorizationServer.issuer,
    idleSeconds: options.session.idleSeconds,
  })
  const redeemCode = createCodeRedemption({ ...parts, sessions })
  const { responseMode = 'query' } = options.authorizationServer
  const wired = { ...parts, sessions, protocol, redeemCode, responseMode }

  const base = options.basePath === '/' ? '' : options.basePath
  const body = readBody(ordinaryBodyBytes)
  // After the guards, so that a page of another site cannot use up what its visitors have. A logout is never refused.
  const { rateLimit } = options
  const limited = limitByAddress(rateLimit, { ...deps, peers })
  const seldomLimited = limitByAddress(
    rateLimit && { ...rateLimit, requests: rateLimit.requests * sessionRequestsFactor },
    { ...deps, peers },
  )
  const capabilityPath = `${base}/capabilities/:name`
  const keysPath = `${base}/jwks.json`
  const hasCapabilities = (options.capabilities ?? []).length > 0
  const signer = options.capabilitySigning && createCapabilitySigner(options.capabilitySigning)
  const routes: readonly Route[] = [
    { method: 'post', path: `${base}/login/start`, handlers: [limited, body, loginStart(wired)] },
    { method: 'post', path: `${base}/login/end`, handlers: [limited, readBody(responseBodyBytes), loginEnd(wired)] },
    { method: 'get', path: `${base}/session`, handlers: [seldomLimited, session(wired)] },
    { method: 'post', path: `${base}/refresh`, handlers: [limited, body, refresh(wired)] },
    {
      method: 'post',
      path: `${base}/logout`,
      handlers: [body, logout({ ...wired, isWithinLimit: isWithin(limited) })],
    },
    ...(hasCapabilities
      ? [{ method: 'post', path: capabilityPath, handlers: [limited, body, capability(wired, signer)] } as const]
      : []),
  ]
  const continuePath = `${base}/logout/continue`
  const backchannelPath = `${base}/backchannel-logout`
  const known = new Set([...routes.map(({ path }) => path), continuePath, backchannelPath, keysPath])
  for (const route of [...known, 'other']) metrics.route(route)
  const routeOf = ({ path }: express.Request): string => {
    if (known.has(path)) return path
    return hasCapabilities && path.startsWith(`${base}/capabilities/`) ? capabilityPath : 'other'
  }

  const app = newExpressApp()
  app.use(correlate(deps.clock, logger, routeOf, metrics.request))
  app.use(securityHeaders(options))
  app.use(cors(options))
  // From the authorization server, not from a browser: no guard applies, and it counts for itself.
  const limitedBackchannel = limitByAddress(rateLimit, { ...deps, peers })
  app.post(backchannelPath, limitedBackchannel, body, trail.follow, backchannelLogout(wired))
  app.all(backchannelPath, methodNotAllowed('POST, OPTIONS'))
  if (signer !== undefined) {
    app.get(keysPath, jwks(signer))
    app.all(keysPath, methodNotAllowed('GET, HEAD, OPTIONS'))
  }
  if (options.logout.idTokenHint) {
    app.get(continuePath, navigationOnly, logoutContinue(wired))
    app.all(continuePath, methodNotAllowed('GET, HEAD, OPTIONS'))
  }
  app.use(recordable(audit, `${base}/logout`))
  app.use(guard(options))
  for (const { method, path, handlers } of routes) {
    app[method](path, ...handlers.slice(0, -1), trail.follow, ...handlers.slice(-1))
    app.all(path, methodNotAllowed(method === 'get' ? 'GET, HEAD, OPTIONS' : 'POST, OPTIONS'))
  }
  app.use(() => {
    throw new TokenHandlerError('not_found')
  })
  app.use(answerErrors(logger, options.detailedErrors, recordRefusal(trail)))

  return {
    handler: mount(app, base),
    ready: () => ({ ready: authorizationServer.isUsable(), authorizationServer: authorizationServer.state() }),
    start: () => authorizationServer.start(),
    async close() {
      authorizationServer.close()
      await background.close()
    },
  }
}

/** Guards and limits refuse before a handler runs; handlers record what they decide themselves. */
function recordRefusal({ recordFor }: AuditTrail): (req: express.Request, code: ErrorCode) => void {
  return (req, code) => {
    const event = refusalEvent(code)
    if (event === 'guard_refused' || event === 'rate_limited') {
      recordFor(req, { event, outcome: 'refused', reason: code, method: req.method })
    }
  }
}

interface Route {
  readonly method: 'get' | 'post'
  readonly path: string
  readonly handlers: readonly RequestHandler[]
}

function newExpressApp(): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.enable('case sensitive routing')
  app.enable('strict routing')
  // Nothing is read from a query: it would stand in logs and histories.
  app.set('query parser', false)
  return app
}

function securityHeaders({ publicOrigin }: OAuthAgentOptions): RequestHandler {
  const protect = helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity: publicOrigin.startsWith('https:')
      ? { maxAge: strictTransportSeconds, includeSubDomains: false }
      : false,
    // For documents, or for browsers of long ago. The header of an answer has room in a reverse proxy's buffer only up to
    // a limit, and every byte here is one less for cookies.
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  })
  return (req, res, next) => {
    res.setHeader('cache-control', 'no-store')
    protect(req, res, next)
  }
}

/** Errors carry the headers too, else the SPA of another origin cannot read why. */
function cors({ trustedOrigins }: OAuthAgentOptions): RequestHandler {
  return (req, res, next) => {
    res.setHeaders(new Map(Object.entries(corsHeaders(req.headers.origin, trustedOrigins))))
    if (!isPreflight(req.method, req.headers)) {
      next()
      return
    }
    if (!trustedOrigins.has(req.headers.origin ?? '')) throw new TokenHandlerError('untrusted_origin')
    const requested = req.headers['access-control-request-headers']
    res.setHeaders(new Map(Object.entries(preflightHeaders(['GET', 'POST'], requested))))
    res.statusCode = 204
    res.end()
  }
}

function guard({ trustedOrigins, publicOrigin }: OAuthAgentOptions): RequestHandler {
  const policy = { trustedOrigins, ownOriginTrusted: trustedOrigins.has(publicOrigin), headerAlwaysRequired: true }
  return ({ method, headers }, _res, next) => {
    const refused = refuseSource({ method, headers }, policy)
    if (refused !== undefined) throw new TokenHandlerError(refused)
    next()
  }
}

/**
 * What cannot be recorded is not done, where the operator wants it so. Except a logout: refused, it would leave the session
 * of a user who is about to go.
 */
function recordable(audit: Pick<AuditLog, 'isBlocking'>, logoutPath: string): RequestHandler {
  return ({ path }, _res, next) => {
    if (audit.isBlocking && path !== logoutPath) {
      throw new TokenHandlerError('audit_unavailable', { retryAfterSeconds: 2 })
    }
    next()
  }
}

/**
 * A whole window on its way, from our own site: the Strict cookie that the route lives on comes with nothing else. Browsers
 * without Fetch Metadata pass.
 */
const navigationOnly: RequestHandler = ({ headers }, _res, next) => {
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': destination } = headers
  if (site === 'cross-site') throw new TokenHandlerError('cross_site')
  if ((mode ?? 'navigate') !== 'navigate' || (destination ?? 'document') !== 'document') {
    throw new TokenHandlerError('untrusted_destination')
  }
  next()
}

function methodNotAllowed(allow: string): RequestHandler {
  return () => {
    throw new TokenHandlerError('method_not_allowed', { headers: { allow } })
  }
}

/** Express takes a mount path off `url`; our routes and cookie paths are the public ones, so it is put back. */
function mount(app: Express, base: string): OAuthAgent['handler'] {
  return (req, res, next) => {
    const { originalUrl } = req as { originalUrl?: string }
    const target = originalUrl ?? req.url ?? ''
    const path = target.split('?', 1)[0] ?? ''
    if (next !== undefined && path !== base && !path.startsWith(`${base}/`)) {
      next()
      return
    }
    req.url = target
    res.removeHeader('x-powered-by')
    // What Express cannot take apart, such as `http://[`, it gives back at once. It is no path of ours, as `/` is none.
    app(req as express.Request, res as express.Response, () => {
      req.url = '/'
      app(req, res)
    })
  }
}
