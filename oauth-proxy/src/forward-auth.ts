import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import {
  createContextBinding,
  createPeers,
  errorCatalogue,
  type AuditLog,
  type CookieNames,
  type ErrorCode,
  type Logger,
} from '@token-handler/shared'
import { openAccessToken } from './access-token.ts'
import { admit, type Admission, type AdmissionDeps } from './admission.ts'
import { errorBody, sendError, type HeaderLines } from './answers.ts'
import { maxTargetLength, parseRequestTarget, type RequestTarget } from './canonical-path.ts'
import { createGatewayCheck } from './forward-auth-gateway.ts'
import { authorizePath, readOriginal, type OriginalRequest } from './forward-auth-original.ts'
import type { HeldTokens } from './held-tokens.ts'
import type { ForwardAuthOptions, OAuthProxyOptions } from './options.ts'
import type { Outcomes } from './outcomes.ts'
import { createRefuse, type Refusal } from './refusals.ts'
import { otherCookies } from './request-headers.ts'
import type { Route, RouteTable } from './routes.ts'
import { createAdmitContext } from './session-context.ts'

export interface ForwardAuthDeps {
  readonly options: ForwardAuthOptions
  readonly proxyOptions: Pick<OAuthProxyOptions, 'publicOrigin' | 'trustedProxies' | 'context'>
  readonly routes: RouteTable
  readonly names: CookieNames
  /** What the proxy judges by: limits are shared with it. */
  readonly admission: AdmissionDeps
  readonly heldTokens: HeldTokens
  readonly cors: (origin: string | undefined) => HeaderLines
  readonly unrouted: Outcomes
  readonly audit: AuditLog
  readonly logger: Logger
}

type Admitted = Extract<Admission, { readonly ok: true }>

/** Header with the body of a denial, for gateways that give the client a body of their own (nginx). */
const errorHeader = 'token-handler-error'

/**
 * Says to a gateway of a request that it has got whether it may go to its API, by the same steps as the proxy's own: 200
 * with the `Authorization` and the `Cookie` that take the place of the client's (empty when there is nothing to send), 401
 * and 403 with our JSON else. Bodies are not seen here, so their size is the gateway's to limit.
 */
export function createForwardAuth(deps: ForwardAuthDeps): RequestListener {
  const { options, proxyOptions, names, routes, cors, unrouted, audit, logger } = deps
  const { host: publicHost, hostname: publicName } = new URL(proxyOptions.publicOrigin)
  const refuseGateway = createGatewayCheck(options)
  // What a gateway says of the client's address counts.
  const peers = createPeers([...proxyOptions.trustedProxies, ...options.peers])
  const binding = proxyOptions.context && createContextBinding(proxyOptions.context, peers)
  const context = binding && createAdmitContext(binding, { audit, logger, peers })
  const admission: AdmissionDeps = { ...deps.admission, peers, context }
  const refuse = createRefuse({ cors, logger, audit, peers, unrouted, send: sendDenial })

  function judge(req: IncomingMessage, res: ServerResponse): void {
    const stranger = refuseGateway(req)
    if (stranger !== undefined) {
      refuseBare(req, res, stranger)
      return
    }
    const original = readOriginal(req, options.style)
    if (typeof original === 'string') {
      refuse(req, res, undefined, { code: 'invalid_request', log: { reason: original } })
      return
    }
    const { method, isUpgrade } = original
    const deny = (route: Route | undefined, refusal: Refusal): void => refuse(req, res, route, { ...refusal, method })
    const target = readTarget(original)
    if (typeof target === 'string') {
      deny(undefined, { code: target })
      return
    }
    const match = routes.match(target.path)
    if (match.found !== 'route') {
      deny(undefined, { code: match.found === 'nothing' ? 'not_found' : 'invalid_request' })
      return
    }
    const { route } = match
    const { headers, socket } = req
    if (isUpgrade && route.upgrade === undefined) {
      deny(route, { code: 'invalid_request' })
      return
    }
    const verdict = admit({ method, headers, socket }, route, admission, { query: target.query, isUpgrade })
    if (!verdict.ok) {
      deny(route, verdict)
      return
    }
    const go = (accessToken: string | undefined): void => {
      count(req, route, method, verdict)
      sendAdmission(req, res, route, accessToken)
    }
    const { claims } = verdict
    if (claims?.held === undefined) go(claims?.at)
    else {
      deps.heldTokens.pass(claims, {
        isGone: () => res.destroyed,
        again: () => openAccessToken(headers.cookie, admission),
        go,
        refuse: (refusal) => deny(route, refusal),
        failed: (error) => refuse(req, res, route, { code: 'server_error' }, error),
      })
    }
  }

  function readTarget({ target, host, method }: OriginalRequest): RequestTarget | ErrorCode {
    if (target.length > maxTargetLength) return 'uri_too_long'
    if (nameOf(host) !== publicName) return 'invalid_request'
    const parsed = parseRequestTarget(target, publicHost)
    if (parsed === undefined) return 'invalid_request'
    return isOwnAddress(parsed.path, method) ? 'not_found' : parsed
  }

  /**
   * A gateway that makes this listener's address public by mistake asks about that address itself. A script must not get
   * the answer, whatever a route for everything would say to it.
   */
  function isOwnAddress(path: string, method: string): boolean {
    return options.style === 'ext_authz'
      ? path === authorizePath || path.startsWith(`${authorizePath}/`)
      : method === 'GET' && path.endsWith(authorizePath)
  }

  function sendAdmission(
    { headers }: IncomingMessage,
    res: ServerResponse,
    route: Route,
    accessToken: string | undefined,
  ): void {
    const cookie =
      route.forwardedCookies.size === 0 ? '' : otherCookies(headers.cookie, route.forwardedCookies, names.ownPrefixes)
    res.writeHead(200, [
      'authorization',
      accessToken === undefined ? '' : `Bearer ${accessToken}`,
      'cookie',
      cookie,
      'cache-control',
      'no-store',
      'content-length',
      '0',
      ...cors(headers.origin),
    ])
    res.end()
  }

  function count(req: IncomingMessage, route: Route, method: string, { claims }: Admitted): void {
    route.outcomes.answer(200)
    if (!audit.recordsRequests) return
    audit.record({
      event: 'request',
      outcome: 'success',
      sid: claims?.sid,
      subjectHash: claims?.sub,
      route: route.path,
      method,
      address: peers.clientAddressOf(req),
    })
  }

  function refuseBare(req: IncomingMessage, res: ServerResponse, reason: string): void {
    // Without Origin, so that no script of another origin reads it; to a stranger everything is said alike.
    delete req.headers.origin
    refuse(req, res, undefined, { code: 'untrusted_gateway', log: { reason, peer: req.socket.remoteAddress } })
  }

  return (req, res) => {
    try {
      judge(req, res)
    } catch (error) {
      refuse(req, res, undefined, { code: 'server_error' }, error)
    }
  }
}

/** Answers 401 where the catalogue says so, 500 to our own mistakes, and 403 to all else: nginx knows no other denial. */
export function sendDenial(req: IncomingMessage, res: ServerResponse, code: ErrorCode, headers: HeaderLines): void {
  const { status } = errorCatalogue[code]
  const told: HeaderLines = code === 'untrusted_gateway' ? [] : [errorHeader, errorBody(code)]
  sendError(req, res, code, [...told, ...headers], status === 401 || status === 500 ? status : 403)
}

/** Name of a host without its port: gateways may listen on several. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/:\d{1,5}$/, '')
}
