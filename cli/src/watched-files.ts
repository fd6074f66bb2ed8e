import { statSync, type BigIntStats } from 'node:fs'
import { stat } from 'node:fs/promises'

/** Files whose changes are watched for by polling, which also sees mounted secrets change; events of the file system miss those. */
export interface WatchedFiles {
  /** Calls `changed` whenever one of the files was replaced, written to or removed, until `close`. */
  watch(changed: () => void): void
  close(): void
}

/**
 * Remembers the files as they are now: to be called before they are read. Node's own `watchFile` begins with what it finds
 * some time after the call, and never tells of a change in between.
 * @param intervalMs How often they are looked at.
 */
export function watchedFiles(paths: readonly string[], intervalMs: number): WatchedFiles {
  let known = paths.map((path) => versionOf(statSync(path, { bigint: true, throwIfNoEntry: false })))
  let timer: NodeJS.Timeout | undefined
  let isLooking = false

  async function look(changed: () => void): Promise<void> {
    const found = await Promise.all(
      paths.map((path) => stat(path, { bigint: true }).then(versionOf, () => versionOf(undefined))),
    )
    if (found.every((version, index) => version === known[index])) return
    known = found
    if (timer !== undefined) changed()
  }

  return {
    watch(changed) {
      timer ??= setInterval(() => {
        if (isLooking) return
        isLooking = true
        void look(changed).finally(() => (isLooking = false))
      }, intervalMs)
      timer.unref()
    },
    close() {
      clearInterval(timer)
      timer = undefined
    },
  }
}

function versionOf(stats: BigIntStats | undefined): string {
  return stats === undefined ? '' : [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ')
}
