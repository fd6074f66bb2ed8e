import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Ledger } from '@token-handler/shared'
import { packageVersion } from './version.ts'

export interface PresenceDeps {
  readonly ledger: Pick<Ledger, 'directory'>
  readonly parts: string
  /** Keys that this process opens cookies with now. */
  readonly kids: () => readonly string[]
  /** Milliseconds since 1970. */
  readonly startedAt: number
}

/** A process is taken for dead after six times this. */
const announceMs = 5_000

/** Tells the other processes again and again that this one lives, which keys it has, and how it goes by the rules. */
export function announcePresence({ ledger, parts, kids, startedAt }: PresenceDeps): { stop(): void } {
  const id = randomBytes(12).toString('base64url')
  const facts = { version: packageVersion, parts, host: hostname(), pid: process.pid, startedAt }
  const announce = (): void => void ledger.directory.announce(id, { ...facts, kids: kids() })
  announce()
  const timer = setInterval(announce, announceMs).unref()
  return { stop: () => clearInterval(timer) }
}
