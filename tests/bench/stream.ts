import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { filesPath } from './site.ts'
import { rawRequest } from './traffic.ts'

export type Direction = 'download' | 'upload'

export interface StreamResult {
  /** Milliseconds since 1970 when each mark was passed. */
  readonly markAt: readonly number[]
}

const chunkBytes = 65_536

/**
 * Moves one body of `bytes` bytes through a contender.
 * @param marks Numbers of bytes, ascending, whose moments are wanted.
 */
export async function moveBody(
  port: number,
  direction: Direction,
  { bytes, marks, cookies }: { bytes: number; marks: readonly number[]; cookies: string },
): Promise<StreamResult> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const progress = new Progress(marks)
  try {
    await (direction === 'download' ? download : upload)(socket, bytes, cookies, progress)
  } finally {
    socket.destroy()
  }
  return { markAt: progress.markAt }
}

class Progress {
  readonly markAt: number[] = []
  readonly #marks: readonly number[]
  #moved = 0

  constructor(marks: readonly number[]) {
    this.#marks = marks
  }

  add(bytes: number): void {
    this.#moved += bytes
    while (this.#moved >= (this.#marks[this.markAt.length] ?? Infinity)) this.markAt.push(Date.now())
  }

  get moved(): number {
    return this.#moved
  }
}

async function download(socket: Socket, bytes: number, cookies: string, progress: Progress): Promise<void> {
  socket.write(rawRequest(`GET ${filesPath}?bytes=${bytes}`, cookies, ['Connection: close']))
  let isFirst = true
  socket.on('data', (chunk: Buffer) => {
    progress.add(chunk.length - (isFirst ? headerLength(chunk) : 0))
    isFirst = false
  })
  await once(socket, 'end')
  if (progress.moved !== bytes) throw new Error(`received ${progress.moved} of ${bytes} bytes`)
}

async function upload(socket: Socket, bytes: number, cookies: string, progress: Progress): Promise<void> {
  const answered = once(socket, 'data')
  socket.write(rawRequest(`POST ${filesPath}`, cookies, [`Content-Length: ${bytes}`]))
  const chunk = Buffer.alloc(chunkBytes, 'x')
  for (let left = bytes; left > 0; left -= chunkBytes) {
    const part = left < chunkBytes ? chunk.subarray(0, left) : chunk
    if (!socket.write(part)) await once(socket, 'drain')
    progress.add(part.length)
  }
  const [answer] = (await answered) as [Buffer]
  if (!answer.toString('latin1').endsWith(`{"received":${bytes}}`)) throw new Error('the upload did not arrive whole')
}

function headerLength(chunk: Buffer): number {
  if (chunk.toString('latin1', 9, 12) !== '200') throw new Error(`a contender answered:\n${chunk.toString('latin1')}`)
  return chunk.indexOf('\r\n\r\n') + 4
}
