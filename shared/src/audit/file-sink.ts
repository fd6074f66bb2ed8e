import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditSink } from './sink.ts'

/** What the sink does with a file; a test puts its faults here. */
export interface AppendedFile {
  write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesWritten: number }>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface FileSinkOptions {
  readonly folder: string
  /** Opens a file for writing, and makes it if it is not there. */
  readonly openFile?: (path: string) => Promise<AppendedFile>
}

const openOwn = async (path: string): Promise<AppendedFile> => {
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
  // Not for appending: what a failed write left is written over.
  return open(path, 'r+').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return open(path, 'wx+', 0o600)
  })
}

/** Files that only their owner reads, each written by one process. What was written is on the disk when `write` returns. */
export function createFileSink({ folder, openFile = openOwn }: FileSinkOptions): AuditSink {
  let path: string | undefined
  let file: AppendedFile | undefined
  let size = 0

  async function release(): Promise<void> {
    const released = file
    file = undefined
    await released?.close().catch(() => undefined)
  }

  return {
    hasParts: true,
    async open(name) {
      const next = join(folder, name)
      if (next === path && file !== undefined) return
      await release()
      path = next
      size = 0
      file = await openFile(path)
    },
    async write(text) {
      if (path === undefined) throw new Error('no part is open')
      try {
        file ??= await openFile(path)
        const bytes = Buffer.from(text)
        for (let done = 0; done < bytes.length;) {
          done += (await file.write(bytes, done, bytes.length - done, size + done)).bytesWritten
        }
        await file.datasync()
        size += bytes.length
      } catch (error) {
        // The next attempt opens it anew: a handle may be of no use any more, on a network's disk above all.
        await release()
        throw error
      }
    },
    close: release,
  }
}
