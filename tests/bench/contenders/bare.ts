/** The floor in Node: node:http in front, undici's dispatch behind, no authentication, nothing judged or rewritten. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { serverOptions } from '@token-handler/oauth-proxy'
import { Pool, type Dispatcher } from 'undici'
import { contend } from './node-contender.ts'

contend(({ upstreamPort }) => {
  const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { connections: null, pipelining: 1, allowH2: false })
  return createServer(serverOptions, (req, res) => {
    // These four are about the connection itself; everything else passes as it is.
    const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, host: ____, ...headers } = req.headers
    pool.dispatch(
      {
        path: req.url ?? '/',
        method: req.method ?? 'GET',
        headers,
        body: req.headers['content-length'] === undefined ? null : req,
      },
      new Passage(req, res),
    )
  })
})

class Passage implements Dispatcher.DispatchHandler {
  readonly #res: ServerResponse
  #controller: Dispatcher.DispatchController | undefined

  constructor(_req: IncomingMessage, res: ServerResponse) {
    this.#res = res
    res.on('close', () => {
      if (!res.writableFinished) this.#controller?.abort(new Error('the client is gone'))
    })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingMessage['headers'],
  ): void {
    const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...passed } = headers
    this.#res.writeHead(status, passed)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#res.write(chunk)) return
    controller.pause()
    this.#res.once('drain', () => controller.resume())
  }

  onResponseEnd(): void {
    this.#res.end()
  }

  onResponseError(): void {
    if (this.#res.headersSent) this.#res.destroy()
    else this.#res.writeHead(502).end()
  }
}
