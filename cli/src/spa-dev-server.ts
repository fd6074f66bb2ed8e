import { request, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { request as requestTls } from 'node:https'
import type { Duplex } from 'node:stream'
import { describeError, type Logger } from '@token-handler/shared'

export interface SpaDevServerOptions {
  /** Origin of the development server; on this machine, as the configuration check has made sure. */
  readonly target: string
  /** The origin that browsers see. */
  readonly publicOrigin: string
  /** Path of the redirect URI: callback.html, as with a built SPA, with the headers that decision 0003 asks for. */
  readonly callbackPath: string
  readonly logger: Logger
}

/** Passes requests and WebSocket handshakes (hot reload) to the SPA's development server. */
export interface SpaDevServer {
  readonly handle: (req: IncomingMessage, res: ServerResponse) => void
  readonly upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** Cuts WebSockets off, which no server ends by itself. */
  readonly close: () => void
}

const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']

export function createSpaDevServer({ target, publicOrigin, callbackPath, logger }: SpaDevServerOptions): SpaDevServer {
  const url = new URL(target)
  const { host: publicHost } = new URL(publicOrigin)
  const send = url.protocol === 'https:' ? requestTls : request

  const sockets = new Set<Duplex>()

  function forward(
    req: IncomingMessage,
    extra: Readonly<Record<string, string>>,
    path = req.url,
  ): ReturnType<typeof request> {
    const headers = { ...withoutHopByHop(req.headers), ...extra, host: url.host }
    return send({
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      method: req.method,
      path,
      headers,
      // Its certificate is its own; the connection does not leave this machine.
      ...(url.protocol === 'https:' ? { rejectUnauthorized: false } : {}),
    })
  }

  /** We send the development server its own name, so its check of the name (DNS rebinding) is ours to make. */
  function isForUs({ headers }: IncomingMessage): boolean {
    return headers.host?.toLowerCase() === publicHost
  }

  function logFailure(error: unknown): void {
    logger.warn({ event: 'dev_server_unavailable', error: describeError(error) }, 'The development server is away.')
  }

  function ask(
    req: IncomingMessage,
    res: ServerResponse,
    onAnswer: (answer: IncomingMessage) => void,
    path?: string,
  ): ReturnType<typeof request> {
    const outgoing = forward(req, {}, path)
    outgoing.on('response', onAnswer)
    outgoing.on('error', (error) => {
      logFailure(error)
      if (res.headersSent) res.destroy()
      else sendText(res, 502, `The development server at ${target} does not answer. Is it running?`)
    })
    res.on('close', () => outgoing.destroy())
    return outgoing
  }

  function pass(answer: IncomingMessage, res: ServerResponse, extra: Readonly<Record<string, string>> = {}): void {
    res.writeHead(answer.statusCode ?? 502, { ...withoutHopByHop(answer.headers), ...extra })
    answer.pipe(res)
    answer.on('error', () => res.destroy())
  }

  function isCallback(req: IncomingMessage): boolean {
    return (req.method === 'GET' || req.method === 'HEAD') && req.url?.split('?', 1)[0] === callbackPath
  }

  /**
   * Asks for the file, because at a path that it does not know a development server shows the app. Where there is no such
   * file, or one is sent to a path without `.html`, for the path itself.
   */
  function answerCallback(req: IncomingMessage, res: ServerResponse): void {
    const passCallback = (answer: IncomingMessage): void => pass(answer, res, callbackHeaders)
    const passFile = (answer: IncomingMessage): void => {
      if (answer.statusCode === 200 || answer.statusCode === 304) return passCallback(answer)
      answer.resume()
      ask(req, res, passCallback).end()
    }
    ask(req, res, passFile, '/callback.html').end()
  }

  return {
    handle(req, res) {
      if (!isForUs(req)) {
        sendText(res, 421, `This server is ${publicHost}.`)
        return
      }
      if (isCallback(req)) answerCallback(req, res)
      else req.pipe(ask(req, res, (answer) => pass(answer, res)))
    },

    upgrade(req, socket, head) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
      if (!isForUs(req) || req.headers.origin !== publicOrigin) {
        socket.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
        return
      }
      const outgoing = forward(req, { connection: 'upgrade', upgrade: 'websocket' })
      outgoing.on('upgrade', (answer, upstream, upstreamHead) => {
        socket.write(rawHead(answer))
        socket.write(upstreamHead)
        upstream.write(head)
        socket.pipe(upstream).pipe(socket)
        upstream.on('error', () => socket.destroy())
        upstream.on('close', () => socket.destroy())
        socket.on('close', () => upstream.destroy())
      })
      outgoing.on('response', (answer) => {
        answer.resume()
        socket.end(`HTTP/1.1 ${answer.statusCode ?? 502} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
      })
      outgoing.on('error', (error) => {
        logFailure(error)
        socket.destroy()
      })
      outgoing.end()
    },

    close() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** See docs/decisions/0003; a development server's inline scripts rule out a stricter script-src. */
const callbackHeaders = {
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'content-security-policy': "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}

/** Neither connection headers nor cookies pass: nothing that serves an SPA's files needs a session. */
function withoutHopByHop(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase())
  const dropped = new Set([...hopByHop, ...named, 'cookie', 'set-cookie'])
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined || dropped.has(name) ? [] : [[name, value]],
    ),
  )
}

function rawHead({ statusCode, statusMessage, rawHeaders }: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`]
  for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}

function sendText(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  })
  res.end(`${text}\n`)
}
