import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Socket } from 'node:net'
import { createProxyMiddleware } from 'http-proxy-middleware'
import type { UpstreamTls } from './options.ts'
import { tunnelOf } from './tunnel.ts'

export type UpgradeUpstream = (req: IncomingMessage, side: Socket, head: Buffer) => void

export interface WebSocketProxyOptions {
  readonly origin: string
  readonly upstreamTls?: UpstreamTls | undefined
  /** Longest wait for the answer to a handshake. */
  readonly responseTimeoutSeconds: number
}

/**
 * The proxy library's path for WebSockets to one API. It gets requests whose headers are final, for it would not clean
 * them: what it sends and what goes wrong is told to the tunnel that the request belongs to.
 */
export function createWebSocketProxy({
  origin,
  upstreamTls,
  responseTimeoutSeconds,
}: WebSocketProxyOptions): UpgradeUpstream {
  const proxy = createProxyMiddleware({
    target: origin,
    changeOrigin: true,
    agent: origin.startsWith('https:') ? new HttpsAgent({ ...upstreamTls }) : new HttpAgent(),
    upgradeTimeout: responseTimeoutSeconds * 1000,
    // Its usual ones write logs and error answers of their own.
    ejectPlugins: true,
    plugins: [
      (server) => {
        server.on('proxyReqWs', (outgoing: ClientRequest, _req, side) => tunnelOf(side)?.sending(outgoing))
        server.on('error', (error, _req, side) => {
          if (side !== undefined) tunnelOf(side)?.failed(error)
        })
      },
    ],
  })
  return (req, side, head) => {
    proxy.upgrade(req, side, head)
  }
}
