import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { TokenHandlerError, type AccessCookieClaims, type ErrorCode, type SessionIdentity } from '@token-handler/shared'
import type { Dispatcher } from 'undici'
import { endAfterDrain } from './answers.ts'
import { isClientGone, onClientGone } from './client-gone.ts'
import { cutOff } from './cut-off.ts'
import { EventBoundary, isEventStream, lastEvent } from './event-stream.ts'
import type { Placed } from './open-exchanges.ts'
import type { UpstreamResponse } from './response-headers.ts'
import { hasBody, RequestBody } from './request-body.ts'
import type { Route } from './routes.ts'
import type { LiveStream, OpenStreams, StreamPlace } from './streams.ts'
import type { Upload } from './uploads.ts'
import { codeOfUpstreamError, InvalidResponseError, isDroppedConnection } from './upstream-errors.ts'
import type { StreamEnd } from './websocket-frames.ts'

/** A request that may go to its API. */
export interface AdmittedRequest {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly route: Route
  /** Path and query for the API. */
  readonly sentTarget: string
  /** Names and values in turn. */
  readonly headers: string[]
  readonly accessToken: string | undefined
  /** Whose request it is; `undefined` on routes without session. */
  readonly session: SessionIdentity | undefined
  readonly claims: AccessCookieClaims | undefined
}

/** What came of an answer within one turn of the event loop. */
interface HeldAnswer {
  readonly status: number
  readonly received: IncomingHttpHeaders
  chunk: Buffer | undefined
  hasEnded: boolean
}

/** Of a body that is copied into a string: from 8 KB on that costs as much as it spares. */
const maxStringBytes = 4096

/** What an exchange needs of its proxy. */
export interface ExchangeDeps {
  readonly responseHeaders: (received: IncomingHttpHeaders, response: UpstreamResponse) => string[]
  /** Called once when nothing was answered yet and the API gave no answer that can be passed on. */
  readonly failed: (request: AdmittedRequest, code: ErrorCode, cause: Error) => void
  /** Called once when an answer broke off in the middle. */
  readonly brokeOff: (request: AdmittedRequest, cause: Error) => void
  readonly streams: OpenStreams
  /** Has {@link Exchange.passHeld} called at the end of the event loop's turn. */
  readonly answerBatch: (exchange: Exchange) => void
  /** Called once at the end, however it came. */
  readonly ended: (exchange: Exchange) => void
}

/**
 * One request and its answer, streamed both ways with back-pressure. undici calls the methods `on…`; when either side goes
 * away the other one is let go too.
 */
export class Exchange implements Dispatcher.DispatchHandler, LiveStream, Placed, Upload {
  place = -1
  readonly #request: AdmittedRequest
  readonly #deps: ExchangeDeps
  #controller: Dispatcher.DispatchController | undefined
  #body: RequestBody | undefined
  #isWaiting = false
  #answerBegan = false
  #held: HeldAnswer | undefined
  #isOver = false
  #isRepeated = false
  #stallTimer: NodeJS.Timeout | undefined
  /** Of an event stream only. */
  #boundary: EventBoundary | undefined
  #streamPlace: StreamPlace | undefined

  constructor(request: AdmittedRequest, deps: ExchangeDeps) {
    this.#request = request
    this.#deps = deps
    onClientGone(request.req, request.res, () => this.#clientClosed())
  }

  get request(): AdmittedRequest {
    return this.#request
  }

  /** Of the answer, once it has begun. */
  get status(): number | undefined {
    const { res } = this.#request
    return res.headersSent ? res.statusCode : undefined
  }

  get session(): SessionIdentity | undefined {
    return this.#request.session
  }

  start(): void {
    const { req, route } = this.#request
    if (hasBody(req)) {
      const { maxBodyBytes: maxBytes = Infinity, minBodyBytesPerSecond: minBytesPerSecond = 1024 } = route
      this.#body = new RequestBody(req, { maxBytes, minBytesPerSecond })
      route.upstreamPool.uploads.add(this)
      this.#body.once('close', () => this.#bodyCame())
    }
    this.#dispatch()
  }

  quietMs(): number {
    return this.#body?.quietMs ?? 0
  }

  giveUp(): void {
    const reason = new Error('the client sends no more of the body')
    this.#letGo(reason)
    this.#fail('request_timeout', reason)
  }

  /**
   * The session was ended, or nobody knows whether it was: the API is let go, the client told, or cut off where its answer
   * has begun.
   */
  endSession(code: 'session_ended' | 'store_unavailable'): void {
    const reason = new Error(code === 'session_ended' ? 'the session was ended' : 'the rules are too old')
    const wasOver = this.#isOver
    const boundary = wasOver ? undefined : this.#boundary
    this.#letGo(reason)
    if (boundary !== undefined) this.#endEvents(boundary, code)
    else if (wasOver || this.#request.res.headersSent) cutOff(this.#request.res)
    else this.#deps.failed(this.#request, code, reason)
  }

  endStream(end: StreamEnd): void {
    const boundary = this.#boundary
    if (this.#isOver || boundary === undefined) return
    this.#letGo(new Error(end))
    this.#endEvents(boundary, end)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isOver) controller.abort(clientIsGone())
  }

  onResponseStarted(): void {
    this.#answerBegan = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, received: IncomingHttpHeaders): void {
    // Interim answers end here (RFC 9110 section 15.2): nobody can act on one, and 103 would bring links of the API.
    if (status < 200) return
    if (status > 599) {
      controller.abort(new InvalidResponseError(`status ${status}`))
      return
    }
    // Whatever else the body is wrapped in would have to be undone (RFC 9112 section 6.1).
    const coding = received['transfer-encoding']
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
      controller.abort(new InvalidResponseError(`transfer coding ${coding}`))
      return
    }
    this.#stopWaiting()
    if (isEventStream(received) && !this.#becomeStream(controller, received)) return
    const { req, res } = this.#request
    if (this.#boundary !== undefined || (this.#body !== undefined && !req.complete)) {
      this.#begin(status, received)
      process.nextTick(writeHead, res)
      return
    }
    this.#held = { status, received, chunk: undefined, hasEnded: false }
    this.#deps.answerBatch(this)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const held = this.#held
    if (held !== undefined) {
      if (held.chunk === undefined && chunk.length < this.#request.res.writableHighWaterMark) {
        held.chunk = chunk
        return
      }
      this.passHeld()
      // It was given up, or its client is gone, of which the end of the connection tells.
      if (this.#isOver || this.#held !== undefined) return
    }
    this.#pass(chunk)
  }

  onResponseEnd(): void {
    if (this.#held === undefined) this.#end()
    else this.#held.hasEnded = true
  }

  /**
   * Passes on what came of an answer within one turn. Answers of one turn are passed on in a row, as requests are, and small
   * ones in one write: together about a seventh of the CPU time of a request (docs/decisions/0012).
   */
  passHeld(): void {
    const held = this.#held
    const { req, res } = this.#request
    // The client or the API went away, or the session ended, within the turn.
    if (held === undefined || this.#isOver || isClientGone(req, res)) return
    this.#held = undefined
    try {
      this.#passOn(held)
    } catch (error) {
      // What Node refuses to send. From a callback of its own undici would catch it, and tell it as an error of the API.
      const cause = error as Error
      this.#letGo(cause)
      this.#fail(codeOfUpstreamError(cause, this.#answerBegan), cause)
    }
  }

  #passOn({ status, received, chunk, hasEnded }: HeldAnswer): void {
    this.#begin(status, received)
    if (hasEnded) this.#end(chunk)
    else if (chunk === undefined) writeHead(this.#request.res)
    else this.#pass(chunk)
  }

  #begin(status: number, received: IncomingHttpHeaders): void {
    const { req, res, route, sentTarget, accessToken } = this.#request
    route.outcomes.answer(status)
    const headers = this.#deps.responseHeaders(received, {
      route,
      sentTarget,
      origin: req.headers.origin,
      accessToken,
      status,
    })
    // The rest of the body would be taken for the next request (RFC 9112 section 9.3).
    if (this.#body !== undefined && !req.complete) headers.push('connection', 'close')
    res.writeHead(status, headers)
  }

  #pass(chunk: Buffer): void {
    const { res, route } = this.#request
    this.#boundary?.pass(chunk)
    if (res.write(chunk) || this.#stallTimer !== undefined) return
    this.#controller?.pause()
    this.#stallTimer = setTimeout(() => {
      this.#letGo(clientIsGone())
      cutOff(res)
    }, route.idleTimeoutSeconds * 1000)
    res.once('drain', () => {
      clearTimeout(this.#stallTimer)
      this.#stallTimer = undefined
      this.#controller?.resume()
    })
  }

  /** @param whole The body of an answer that is all there. */
  #end(whole?: Buffer): void {
    this.#finish()
    const { req, res, route } = this.#request
    if (whole !== undefined) endWith(res, whole)
    else if (this.#body === undefined || req.complete) res.end()
    else endAfterDrain(req, res)
    // Nothing else looks whether the client takes what is left.
    if (res.socket !== null && res.socket.writableLength > 0) res.socket.setTimeout(route.idleTimeoutSeconds * 1000)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#isOver) return
    if (this.#mayRepeat(error)) {
      this.#isRepeated = true
      this.#stopWaiting()
      this.#dispatch()
      return
    }
    this.#finish()
    this.#fail(codeOfUpstreamError(error, this.#answerBegan), error)
  }

  #fail(code: ErrorCode, cause: Error): void {
    const { res } = this.#request
    if (!res.headersSent) {
      this.#deps.failed(this.#request, code, cause)
      return
    }
    this.#deps.brokeOff(this.#request, cause)
    cutOff(res)
  }

  #dispatch(): void {
    const { req, route, sentTarget, headers } = this.#request
    const { upstreamPool: upstream, responseTimeoutSeconds, idleTimeoutSeconds } = route
    const length = req.headers['content-length']
    if (this.#body === undefined) this.#wait()
    upstream.connections.dispatch(
      {
        path: sentTarget,
        method: req.method ?? 'GET',
        headers: this.#body === undefined || length === undefined ? headers : [...headers, 'content-length', length],
        body: this.#body ?? null,
        headersTimeout: responseTimeoutSeconds * 1000,
        bodyTimeout: idleTimeoutSeconds * 1000,
      },
      this,
    )
  }

  /** @returns `false` when there are too many streams; the request is refused then. */
  #becomeStream(controller: Dispatcher.DispatchController, received: IncomingHttpHeaders): boolean {
    const { route, claims } = this.#request
    const tooMany = this.#deps.streams.refuse(claims?.sid)
    if (tooMany !== undefined) {
      controller.abort(new TokenHandlerError(tooMany))
      return false
    }
    this.#boundary = new EventBoundary(received)
    this.#streamPlace = this.#deps.streams.enter(this, route, claims)
    return true
  }

  /** Tells the page why, where something may be told; else it is cut off. */
  #endEvents(boundary: EventBoundary, end: StreamEnd): void {
    const { res } = this.#request
    if (boundary.isHere && !res.destroyed) res.end(lastEvent(end))
    else cutOff(res)
  }

  /** Once, without a body, and only what may be repeated safely (RFC 9110 section 9.2.2). */
  #mayRepeat(error: Error): boolean {
    const { req } = this.#request
    const isSafe = (req.method === 'GET' || req.method === 'HEAD') && this.#body === undefined
    return isSafe && !this.#isRepeated && !this.#answerBegan && isDroppedConnection(error)
  }

  #clientClosed(): void {
    if (this.#isOver) return
    const { res, route } = this.#request
    if (!res.headersSent) route.outcomes.clientGone()
    this.#letGo(clientIsGone())
  }

  /** Nobody waits for the API any more. */
  #letGo(reason: Error): void {
    this.#finish()
    this.#controller?.abort(reason)
  }

  #bodyCame(): void {
    this.#request.route.upstreamPool.uploads.delete(this)
    if (!this.#isOver && !this.#answerBegan) this.#wait()
  }

  #wait(): void {
    this.#isWaiting = true
    this.#request.route.upstreamPool.waiting++
  }

  #stopWaiting(): void {
    if (!this.#isWaiting) return
    this.#isWaiting = false
    this.#request.route.upstreamPool.waiting--
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#stallTimer)
    this.#stopWaiting()
    if (this.#body !== undefined) this.#request.route.upstreamPool.uploads.delete(this)
    this.#body?.destroy()
    this.#streamPlace?.leave()
    this.#deps.ended(this)
  }
}

/** A string goes out in one write with the head before it; a buffer needs a list of pieces. */
function endWith(res: ServerResponse, body: Buffer): void {
  if (body.length <= maxStringBytes) res.end(body.toString('latin1'), 'latin1')
  else res.end(body)
}

function clientIsGone(): Error {
  return new Error('the client is gone')
}

/**
 * Headers wait for the first piece of the body when it is there already, and go alone when it is not: event streams. As the
 * bytes that they were (RFC 9110 section 5.5): `flushHeaders` would write them as UTF-8.
 */
function writeHead(res: ServerResponse): void {
  if (!res.writableEnded && !res.destroyed) res.write('', 'latin1')
}
