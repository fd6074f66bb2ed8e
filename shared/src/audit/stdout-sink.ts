import { close as closeFile, constants, fstat, open as openFile, write as writeFile } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { AuditSink } from './sink.ts'

const statOf = promisify(fstat)
const openPath = promisify(openFile)
const writeTo = promisify(writeFile)
const closeTarget = promisify(closeFile)

/** Up to this length a write into a pipe is never mixed with that of another process (POSIX PIPE_BUF, as Linux has it). */
const atomicBytes = 4096
const fullPipePauseMs = 25

/**
 * Standard output, past Node's own stream: that one writes into pipes synchronously, and so a reader that does not read
 * would stop the whole process.
 * @param descriptor Standard output unless given.
 */
export function createStdoutSink(descriptor = 1): AuditSink {
  let target: number | undefined
  let isClosed = false
  /** What is not written yet of the text that the last call got. */
  let left: { readonly text: string; readonly pieces: Buffer[] } | undefined

  /** A full pipe shall say so (EAGAIN) and not hold a thread. The flag is put on a descriptor of our own: others share the first one. */
  async function prepare(): Promise<number> {
    if (!(await statOf(descriptor)).isFIFO()) return descriptor
    const own = `/proc/self/fd/${descriptor}`
    return openPath(own, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => descriptor)
  }

  async function writePiece(piece: Buffer): Promise<number> {
    target ??= await prepare()
    for (;;) {
      try {
        return (await writeTo(target, piece)).bytesWritten
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || isClosed) throw error
        await sleep(fullPipePauseMs)
      }
    }
  }

  return {
    hasParts: false,
    open: () => Promise.resolve(),
    async write(text) {
      if (left?.text !== text) left = { text, pieces: piecesOf(text) }
      const { pieces } = left
      for (let piece = pieces[0]; piece !== undefined; piece = pieces[0]) {
        const written = await writePiece(piece)
        if (written === piece.length) pieces.shift()
        else pieces[0] = piece.subarray(written)
      }
      left = undefined
    },
    async close() {
      isClosed = true
      if (target !== undefined && target !== descriptor) await closeTarget(target)
      target = undefined
    },
  }
}

/** As many whole lines as fit, together. */
function piecesOf(text: string): Buffer[] {
  const pieces: Buffer[] = []
  let lines: Buffer[] = []
  let bytes = 0
  for (const line of text.split(/(?<=\n)/)) {
    const next = Buffer.from(line)
    if (bytes > 0 && bytes + next.length > atomicBytes) {
      pieces.push(Buffer.concat(lines))
      lines = []
      bytes = 0
    }
    lines.push(next)
    bytes += next.length
  }
  if (bytes > 0) pieces.push(Buffer.concat(lines))
  return pieces
}
