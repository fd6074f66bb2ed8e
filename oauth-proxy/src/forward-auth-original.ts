import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { GatewayStyle } from './options.ts'
import { countNamed } from './request-headers.ts'

/** The request that a gateway asks about. */
export interface OriginalRequest {
  readonly method: string
  /** Path and query as the client sent them. */
  readonly target: string
  readonly host: string
  /** A WebSocket handshake: nothing else has a `Sec-WebSocket-Key`, and no script can set one. */
  readonly isUpgrade: boolean
}

/** Where the sub-request goes to, except that Envoy puts the original target after it. */
export const authorizePath = '/authorize'

interface Names {
  readonly method: string
  readonly target: string
  readonly host: string
}

/** Of other styles' headers nothing is read: a gateway leaves those as the client sent them. */
const headerNames: Readonly<Record<Exclude<GatewayStyle, 'ext_authz'>, Names>> = {
  original: { method: 'x-original-method', target: 'x-original-uri', host: 'x-original-host' },
  forwarded: { method: 'x-forwarded-method', target: 'x-forwarded-uri', host: 'x-forwarded-host' },
}

const keyHeader = 'sec-websocket-key'
const methodToken = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/

/**
 * Reads the original request out of a sub-request.
 * @returns What is missing, repeated or contradictory as a text for the log, or the request.
 */
export function readOriginal(req: IncomingMessage, style: GatewayStyle): OriginalRequest | string {
  const found = style === 'ext_authz' ? readRequestLine(req) : readHeaders(req, headerNames[style])
  if (typeof found === 'string') return found
  if (!methodToken.test(found.method)) return 'the method is none'
  const keys = countNamed(req.rawHeaders, keyHeader)
  if (keys > 1) return `${keyHeader} is repeated`
  const isUpgrade = keys === 1
  if (isUpgrade && found.method !== 'GET') return `${keyHeader} contradicts the method`
  const contradiction = upgradeContradiction(req.headers, isUpgrade)
  return contradiction ?? { ...found, isUpgrade }
}

type Found = Omit<OriginalRequest, 'isUpgrade'>

function readHeaders(req: IncomingMessage, names: Names): Found | string {
  if (req.method !== 'GET') return 'the sub-request is no GET'
  const path = req.url?.split('?', 1)[0]
  if (path !== authorizePath) return `the sub-request is not to ${authorizePath}`
  for (const name of [names.method, names.target, names.host]) {
    const count = countNamed(req.rawHeaders, name)
    if (count !== 1) return `${name} is ${count === 0 ? 'missing' : 'repeated'}`
  }
  const valueOf = (name: string): string => String(req.headers[name])
  return { method: valueOf(names.method), target: valueOf(names.target), host: valueOf(names.host) }
}

/** Envoy keeps method and host, and puts `path_prefix` before the path (ext_authz, `http_service`). */
function readRequestLine({ method = '', url = '', headers, rawHeaders }: IncomingMessage): Found | string {
  if (!url.startsWith(`${authorizePath}/`)) return `the sub-request is not under ${authorizePath}`
  if (countNamed(rawHeaders, 'host') !== 1) return 'host is missing or repeated'
  return { method, target: url.slice(authorizePath.length), host: headers.host ?? '' }
}

/** Some gateways pass `Upgrade` on with the sub-request: then both must be there. */
function upgradeContradiction({ upgrade }: IncomingHttpHeaders, isUpgrade: boolean): string | undefined {
  if (upgrade === undefined) return undefined
  if (upgrade.toLowerCase() !== 'websocket') return 'upgrade is not to websocket'
  return isUpgrade ? undefined : `upgrade comes without ${keyHeader}`
}
