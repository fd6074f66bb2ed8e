import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const lengthLine = /\r\ncontent-length: *(\d+)\r\n/i

/** One keep-alive connection of the load generator: a request out, its whole answer in, then the next. */
export class LoadConnection {
  readonly #socket: Socket
  /** Bytes of the last answer, which most often are those of the next one too: that spares parsing it. */
  #usualLength = -1
  #parts: Buffer[] = []
  #onAnswer: () => void = () => {}
  #onFailure: (error: Error) => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', (error) => this.#onFailure(error))
    socket.on('end', () => this.#onFailure(new Error('a contender closed a connection that was in use')))
  }

  static async open(port: number): Promise<LoadConnection> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new LoadConnection(socket)
  }

  /** @param onAnswer Called for each answer with status 200. @param onFailure Called for anything else. */
  listen(onAnswer: () => void, onFailure: (error: Error) => void): void {
    this.#onAnswer = onAnswer
    this.#onFailure = onFailure
  }

  send(request: Buffer): void {
    this.#socket.write(request)
  }

  close(): void {
    this.listen(
      () => {},
      () => {},
    )
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    if (this.#parts.length === 0 && chunk.length === this.#usualLength && isOk(chunk)) {
      this.#onAnswer()
      return
    }
    this.#parts.push(chunk)
    const received = Buffer.concat(this.#parts)
    const headerEnd = received.indexOf('\r\n\r\n')
    if (headerEnd === -1) return
    const header = received.toString('latin1', 0, headerEnd + 2)
    const contentLength = lengthLine.exec(header)?.[1]
    if (!isOk(received) || contentLength === undefined) {
      this.#onFailure(new Error(`a contender answered:\n${header}`))
      return
    }
    const length = headerEnd + 4 + Number(contentLength)
    if (received.length < length) return
    if (received.length > length) {
      this.#onFailure(new Error('a contender sent more than one answer'))
      return
    }
    this.#usualLength = length
    this.#parts = []
    this.#onAnswer()
  }
}

/** `HTTP/1.1 200` */
function isOk(answer: Buffer): boolean {
  return answer[9] === 0x32 && answer[10] === 0x30 && answer[11] === 0x30
}
