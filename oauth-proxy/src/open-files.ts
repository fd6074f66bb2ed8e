import { readFileSync } from 'node:fs'

/** How many open files this process may have; `Infinity` where that cannot be told. Node raises its limit to the highest allowed one when it starts. */
export function mostOpenFiles(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? Infinity : Number(soft)
  } catch {
    // Another system than Linux.
    return Infinity
  }
}
