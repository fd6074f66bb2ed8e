import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { sessionIdentity, type Peers } from '@token-handler/shared'
import { openAccessToken } from './access-token.ts'
import { admit, type AdmissionDeps } from './admission.ts'
import { maxTargetLength, parseRequestTarget, targetOf } from './canonical-path.ts'
import type { HeldTokens } from './held-tokens.ts'
import type { OpenExchanges } from './open-exchanges.ts'
import type { Refuse } from './refusals.ts'
import { refuseFraming, type RequestHeadersBuilder } from './request-headers.ts'
import { upstreamTarget, type RouteTable } from './routes.ts'
import { isAnswering, lingerAndClose } from './server.ts'
import type { OpenStreams } from './streams.ts'
import { Tunnel, type TunnelDeps } from './tunnel.ts'
import { readHandshake, wantsWebSocket } from './websocket-handshake.ts'

export interface UpgradeDeps {
  readonly publicHost: string
  readonly routes: RouteTable
  readonly refuse: Refuse
  readonly admission: AdmissionDeps
  readonly heldTokens: HeldTokens
  readonly requestHeaders: RequestHeadersBuilder
  readonly peers: Peers
  readonly streams: OpenStreams
  readonly exchanges: Pick<OpenExchanges<Tunnel>, 'add'>
  readonly tunnels: TunnelDeps
  readonly maxWaitingRequests: number
}

/**
 * Judges a request to leave HTTP (RFC 9110 section 7.8) by the same steps as any other, before the API sees a byte of it,
 * and makes a WebSocket of it where its route has them. Any other protocol, `h2c` above all, is refused.
 */
export function createUpgrade(deps: UpgradeDeps): (req: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const { publicHost, routes, requestHeaders, peers, streams, maxWaitingRequests } = deps

  function serve(req: IncomingMessage, res: ServerResponse, socket: Socket, head: Buffer): void {
    const refuse = (...[route, refusal]: [Parameters<Refuse>[2], Parameters<Refuse>[3]]): void =>
      deps.refuse(req, res, route, refusal)
    if (!wantsWebSocket(req.headers)) return refuse(undefined, { code: 'upgrade_required' })
    const requestTarget = targetOf(req)
    if (requestTarget.length > maxTargetLength) return refuse(undefined, { code: 'uri_too_long' })
    const target = parseRequestTarget(requestTarget, publicHost)
    const match = target === undefined ? undefined : routes.match(target.path)
    if (target === undefined || match?.found === 'ambiguous') return refuse(undefined, { code: 'invalid_request' })
    if (match?.found !== 'route') return refuse(undefined, { code: 'not_found' })
    const { route } = match
    if (route.upgrade === undefined) return refuse(route, { code: 'invalid_request' })
    const malformed = refuseFraming(req, { isUpgrade: true })
    if (malformed !== undefined) return refuse(route, { code: malformed })
    const handshake = readHandshake(req)
    if (!handshake.ok) return refuse(route, handshake)
    const admission = admit(req, route, deps.admission, { query: target.query, isUpgrade: true })
    if (!admission.ok) return refuse(route, admission)
    const { claims, kid } = admission
    const sentTarget = upstreamTarget(route, target.path) + target.query
    const open = (accessToken: string | undefined): void => {
      const tooMany = streams.refuse(claims?.sid)
      if (tooMany !== undefined) return refuse(route, { code: tooMany })
      if (route.upstreamPool.waiting >= maxWaitingRequests) return refuse(route, { code: 'upstream_overloaded' })
      const built = requestHeaders(req, { route, peer: peers.peerOf(req), accessToken })
      if (!built.ok) return refuse(route, { code: built.code })
      const tunnel = new Tunnel(
        {
          req,
          res,
          socket,
          head,
          route,
          sentTarget,
          headers: built.headers,
          handshake: handshake.headers,
          accessToken,
          claims,
          session: claims === undefined ? undefined : sessionIdentity(claims, kid),
        },
        deps.tunnels,
      )
      deps.exchanges.add(tunnel)
      tunnel.start()
    }
    if (claims?.held === undefined) open(claims?.at)
    else
      deps.heldTokens.pass(claims, {
        isGone: () => socket.destroyed,
        again: () => openAccessToken(req.headers.cookie, deps.admission),
        go: open,
        refuse: (refusal) => refuse(route, refusal),
        failed: (error) => deps.refuse(req, res, route, { code: 'server_error' }, error),
      })
  }

  return (req, duplex, head) => {
    const socket = duplex as Socket
    // No browser sends a handshake behind a request that is not answered yet; the answers would get mixed up.
    if (isAnswering(req.socket)) {
      socket.destroy()
      return
    }
    const res = answerOn(req, socket)
    try {
      serve(req, res, socket, head)
    } catch (error) {
      deps.refuse(req, res, undefined, { code: 'server_error' }, error)
    }
  }
}

/** An ordinary answer on the socket that Node has given away, and the end of its connection. */
function answerOn(req: IncomingMessage, socket: Socket): ServerResponse {
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  socket.on('error', () => socket.destroy())
  res.assignSocket(socket)
  res.once('finish', () => {
    res.detachSocket(socket)
    lingerAndClose(socket)
  })
  return res
}
