import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { findProgram } from './programs.ts'

/**
 * Keeps each contender on a CPU of its own, with upstream and load generator on the others. Where the scheduler puts them
 * together otherwise depends on chance, and made identical processes differ by a fifth.
 */
export type Place =
  | 'contender'
  | 'others'
  /** Wherever the scheduler likes: for contenders that want more than one CPU. */
  | 'anywhere'

const allowed = allowedCpus()
const taskset = findProgram('taskset')

/** Whether processes can be placed: that takes two CPUs and util-linux. */
export const isPlacing = taskset !== undefined && allowed.length > 1

/** The command that runs a program in its place. */
export function placed(where: Place, command: string, args: readonly string[]): [string, string[]] {
  if (taskset === undefined || !isPlacing || where === 'anywhere') return [command, [...args]]
  return [taskset, ['-c', cpusOf(where).join(','), command, ...args]]
}

/** Puts a process that runs already in its place, with all its threads. */
export function place(where: Place, pid: number): void {
  if (taskset === undefined || !isPlacing) return
  execFileSync(taskset, ['--all-tasks', '--cpu-list', '--pid', cpusOf(where).join(','), String(pid)], {
    stdio: 'ignore',
  })
}

function cpusOf(where: Place): readonly number[] {
  if (where === 'anywhere') return allowed
  return where === 'contender' ? allowed.slice(-1) : allowed.slice(0, -1)
}

/** Numbers of the CPUs that this process may use, from a list such as `0-3,8`. */
function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}
