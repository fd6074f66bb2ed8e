import { createLogger, type Logger } from '@token-handler/shared'

/** A real logger whose lines are kept for the test. */
export interface KeptLog {
  readonly logger: Logger
  /** Every line, as JSON. */
  readonly lines: readonly string[]
  /** The `event` of every line, in order. */
  events(): string[]
}

export function keptLog(): KeptLog {
  const lines: string[] = []
  return {
    logger: createLogger('debug', { write: (line) => void lines.push(line) }),
    lines,
    events: () => lines.map((line) => (JSON.parse(line) as { event: string }).event),
  }
}
