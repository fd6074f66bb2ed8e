import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { createAgentScript } from './scripted-agent.ts'
import { createPages } from './scripted-pages.ts'
import { acceptSockets, type ScriptedSockets } from './scripted-sockets.ts'

export interface Received {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | string[]>>
  /** Text, or a function that writes the body bit by bit. */
  readonly body?: string | ((response: ServerResponse) => void)
}

/** Answers a request; undefined leaves it to the next script. */
export type Script = (request: Received) => Answer | undefined | Promise<Answer | undefined>

export interface ScriptedServer {
  /** Where the page lives: `http://localhost:PORT`, or https with `tls`. */
  readonly origin: string
  readonly port: number
  readonly agent: ReturnType<typeof createAgentScript>
  /** Everything that arrived, preflights too, in order. */
  readonly received: readonly Received[]
  /** Those of one route, such as `POST /oauth-agent/refresh`. */
  receivedAt(route: string): Received[]
  /** Origins besides the page's own that get CORS headers. */
  readonly corsOrigins: string[]
  /** Puts a script before what the server does by itself. */
  script(route: string, script: Script): void
  /** WebSockets at `/api/`, and who asked for them. */
  readonly sockets: ScriptedSockets
  /** Keeps the requests of a route waiting. */
  hold(route: string): Hold
  close(): Promise<void>
}

export interface Hold {
  /** Resolves when so many requests wait. */
  arrived(count: number): Promise<void>
  /** Lets them all go on, and later ones too. */
  release(): void
}

interface ScriptedServerOptions {
  /** Serves HTTP/2 with this certificate, as browsers ask for streamed request bodies. */
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Folder of a built SPA to serve in place of the test page. */
  readonly spaRoot?: string
}

/** Agent, proxy, API, authorization server and page in one real server, each with its cookies, scripted for faults. */
export async function startScriptedServer(options: ScriptedServerOptions = {}): Promise<ScriptedServer> {
  const { tls, spaRoot } = options
  const corsOrigins: string[] = []
  const received: Received[] = []
  const scripts: { route: string; script: Script }[] = []
  let agent: ReturnType<typeof createAgentScript> | undefined
  const pages = createPages(spaRoot)

  const listener = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const url = new URL(req.url ?? '/', 'http://server')
    const chunks: Buffer[] = []
    for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk)
    const request: Received = {
      method: req.method ?? '',
      path: url.pathname,
      query: url.search,
      headers: req.headers,
      body: Buffer.concat(chunks),
    }
    received.push(request)
    const cors = corsHeaders(request, corsOrigins)
    if (request.method === 'OPTIONS') return void res.writeHead(204, cors).end()
    let answer: Answer | undefined
    for (const { route, script } of scripts.toReversed()) {
      if (route === `${request.method} ${request.path}`) answer ??= await script(request)
    }
    answer ??= agent?.answer(request) ?? (await pages(request)) ?? { status: 404, body: 'not found' }
    res.writeHead(answer.status, { 'cache-control': 'no-store', ...cors, ...answer.headers })
    if (typeof answer.body === 'function') answer.body(res)
    else res.end(answer.body)
  }
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    // A client that goes away in the middle of its request is no failure of the server.
    listener(req, res).catch(() => res.destroy())
  }
  const server =
    tls === undefined
      ? createServer(onRequest)
      : createSecureServer({ ...tls, allowHTTP1: true }, (req, res) =>
          onRequest(req as unknown as IncomingMessage, res as unknown as ServerResponse),
        )
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const scheme = tls === undefined ? 'http' : 'https'
  agent = createAgentScript(`${scheme}://127.0.0.1:${port}`)

  return {
    origin: `${scheme}://localhost:${port}`,
    port,
    agent,
    received,
    sockets: acceptSockets(server),
    corsOrigins,
    receivedAt: (route) => received.filter(({ method, path }) => route === `${method} ${path}`),
    script: (route, script) => void scripts.push({ route, script }),
    hold: (route) => {
      const hold = createHold()
      scripts.push({ route, script: hold.script })
      return hold
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

function createHold(): Hold & { script: Script } {
  const released = Promise.withResolvers<void>()
  const watchers: { count: number; resolve: () => void }[] = []
  let waiting = 0
  return {
    async script() {
      waiting += 1
      for (const { count, resolve } of watchers) if (waiting >= count) resolve()
      await released.promise
      return undefined
    },
    arrived(count) {
      const { promise, resolve } = Promise.withResolvers<void>()
      watchers.push({ count, resolve })
      if (waiting >= count) resolve()
      return promise
    },
    release: () => released.resolve(),
  }
}

function corsHeaders(request: Received, origins: readonly string[]): Record<string, string> {
  const origin = String(request.headers['origin'])
  if (!origins.includes(origin)) return {}
  return {
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-allow-headers': 'token-handler-version, content-type, x-amz-checksum-sha256',
    'access-control-allow-methods': 'GET, POST, PUT, DELETE',
    'access-control-expose-headers': 'Retry-After, WWW-Authenticate',
    vary: 'Origin',
  }
}
