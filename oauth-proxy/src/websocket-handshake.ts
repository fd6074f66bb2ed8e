import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { ErrorCode } from '@token-handler/shared'
import { hasBody } from './request-body.ts'
import type { HeaderLines } from './answers.ts'

/** The headers of a handshake (RFC 6455 section 4.1) that go to the API as they came. */
export type HandshakeHeaders = Readonly<Record<string, string>>

export type Handshake =
  | { readonly ok: true; readonly headers: HandshakeHeaders }
  | { readonly ok: false; readonly code: ErrorCode; readonly headers?: HeaderLines }

const version = '13'
/** Sixteen bytes in base64. */
const keyFormat = /^[A-Za-z0-9+/]{21}[AQgw]==$/
/** Names of subprotocols and extensions with their parameters. */
const listFormat = /^[\x20-\x7e]{1,1024}$/
/** RFC 6455 section 1.3. */
const acceptSuffix = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** Whether a request wants to become a WebSocket, and nothing else. */
export function wantsWebSocket({ upgrade }: IncomingHttpHeaders): boolean {
  return upgrade?.toLowerCase() === 'websocket'
}

/** Judges a handshake by its form (RFC 6455 section 4.2.1). */
export function readHandshake(req: IncomingMessage): Handshake {
  const { headers, method, httpVersionMinor } = req
  if (headers['sec-websocket-version'] !== version) {
    return { ok: false, code: 'upgrade_required', headers: ['sec-websocket-version', version] }
  }
  const key = headers['sec-websocket-key']
  const lists = ['sec-websocket-protocol', 'sec-websocket-extensions'].map((name) => [name, headers[name]] as const)
  const isRight =
    method === 'GET' &&
    httpVersionMinor === 1 &&
    !hasBody(req) &&
    key !== undefined &&
    keyFormat.test(key) &&
    lists.every(([, value]) => value === undefined || (typeof value === 'string' && listFormat.test(value)))
  if (!isRight) return { ok: false, code: 'invalid_request' }
  const given = lists.flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as const] : []))
  return {
    ok: true,
    headers: { 'sec-websocket-version': version, 'sec-websocket-key': key, ...Object.fromEntries(given) },
  }
}

/** Whether the API agreed to this handshake, and to nothing that was not offered (RFC 6455 section 4.1). */
export function isAccepted(answer: IncomingHttpHeaders, handshake: HandshakeHeaders): boolean {
  const expected = createHash('sha1').update(`${handshake['sec-websocket-key']}${acceptSuffix}`).digest('base64')
  const protocol = answer['sec-websocket-protocol']
  const offered = namesOf(handshake['sec-websocket-extensions'])
  return (
    answer.upgrade?.toLowerCase() === 'websocket' &&
    namesOf(answer.connection?.toLowerCase()).includes('upgrade') &&
    answer['sec-websocket-accept'] === expected &&
    (protocol === undefined || namesOf(handshake['sec-websocket-protocol']).includes(protocol)) &&
    namesOf(answer['sec-websocket-extensions']).every((name) => offered.includes(name))
  )
}

/** The names in a list, without their parameters. */
function namesOf(list: string | undefined): string[] {
  return list === undefined ? [] : list.split(',').map((item) => (item.split(';', 1)[0] ?? '').trim())
}
