import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { closeFrame, FrameTracker, type StreamEnd } from './websocket-frames.ts'

/** After this, whoever did not let go is cut off. */
const patienceMs = 1_000

/**
 * The browser's end of a WebSocket, as the proxy library gets it: what passes is followed frame by frame, so that the
 * proxy can write close frames of its own both ways.
 *
 * The library writes the head of the answer first; it is swallowed, for the one that the browser gets is ours.
 */
export class BrowserSide extends Duplex {
  readonly #socket: Socket
  readonly #toBrowser = new FrameTracker()
  readonly #toApi = new FrameTracker()
  #sawHead = false
  #end: StreamEnd | undefined
  #browserTold = false
  #apiTold = false
  #isMuted = false

  constructor(socket: Socket) {
    super({ allowHalfOpen: true })
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#fromBrowser(chunk))
    socket.on('end', () => this.#apiTold || this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.destroy())
  }

  // The library sets these on what it takes for a socket; the real one has them already.
  setTimeout(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }

  /** There is no WebSocket: the connection is somebody else's to answer on, and to end. */
  mute(): void {
    this.#isMuted = true
    this.#browserTold = true
    this.#apiTold = true
    this.#socket.resume()
  }

  /** What came behind the handshake: the library puts it in by itself, past what follows the frames. */
  noteHead(head: Buffer): void {
    this.#toApi.pass(head)
  }

  /** Close frames both ways, each as soon as a frame ends there; what has not let go after a second is cut off. */
  close(end: StreamEnd): void {
    if (this.#end !== undefined || this.destroyed) return
    this.#end = end
    const timer = setTimeout(() => this.#socket.destroy(), patienceMs)
    this.#socket.once('close', () => clearTimeout(timer))
    if (this.#toBrowser.isAtBoundary) this.#tellBrowser(end)
    if (this.#toApi.isAtBoundary) this.#tellApi(end)
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (!this.#sawHead) {
      this.#sawHead = true
      done()
      return
    }
    if (this.#browserTold) done()
    else if (this.#end !== undefined) {
      const boundary = this.#toBrowser.firstBoundary(chunk)
      const passed = boundary === undefined ? chunk : chunk.subarray(0, boundary)
      this.#socket.write(passed)
      if (boundary !== undefined) this.#tellBrowser(this.#end)
      done()
    } else {
      this.#toBrowser.pass(chunk)
      if (this.#socket.write(chunk)) done()
      else this.#socket.once('drain', done)
    }
  }

  override _final(done: () => void): void {
    if (!this.#isMuted && !this.#socket.writableEnded) this.#socket.end()
    done()
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // The library destroys what it was given after an error; the answer to it is still on its way.
    if (!this.#isMuted) this.#socket.destroy()
    done(error)
  }

  #fromBrowser(chunk: Buffer): void {
    if (this.#apiTold) return
    let passed: Buffer = chunk
    if (this.#end === undefined) this.#toApi.pass(chunk)
    else {
      const boundary = this.#toApi.firstBoundary(chunk)
      if (boundary !== undefined) {
        passed = chunk.subarray(0, boundary)
        if (passed.length > 0) this.push(passed)
        this.#tellApi(this.#end)
        return
      }
    }
    if (!this.push(passed)) this.#socket.pause()
  }

  #tellBrowser(end: StreamEnd): void {
    this.#browserTold = true
    // Its own close frame is not waited for: the end of the connection after ours is a clean end for browsers.
    if (this.#toBrowser.hasClosed) this.#socket.end()
    else this.#socket.end(closeFrame(end, false))
  }

  #tellApi(end: StreamEnd): void {
    this.#apiTold = true
    if (!this.#toApi.hasClosed) this.push(closeFrame(end, true))
    this.push(null)
    // Whatever the browser still sends is read and dropped, or closing would reset the connection.
    this.#socket.resume()
  }
}
