import type { Rotation } from './authorization-server.ts'
import type { Protocol } from './protocol.ts'
import type { ModelReplica } from './store.ts'

/** How often each thing may happen in one history. */
export interface Budget {
  readonly refreshes: number
  readonly looks: number
  readonly logouts: number
  readonly thefts: number
  readonly deaths: number
  readonly lostAnswers: number
  readonly lostResponses: number
  readonly pauses: number
  readonly rollbacks: number
  readonly partitions: number
  readonly losses: number
  readonly notReached: number
}

export interface WorldOptions {
  readonly rotation: Rotation
  readonly budget: Budget
  readonly protocol?: Protocol
  /** Decides which requests are slow. */
  readonly salt?: number
}

/** The cookies of one generation in one browser. Two of the same generation may differ: each has a key of its own. */
export interface Cookies {
  readonly key: number
  readonly generation: number
  readonly token: number
}

export type Stage =
  /** Wants to be judged; a refresh that is held comes back here. */
  | 'ask'
  | 'send'
  | 'sent'
  | 'answered'
  | 'commit'
  | 'refused'
  /** Answered the browser without a commit, and goes on committing. */
  | 'persist'
  | 'end'
  | 'revoke'
  | 'respond'

/** One HTTP request at one replica. */
export interface Request {
  readonly id: number
  readonly kind: 'refresh' | 'look' | 'logout' | 'thief'
  readonly replica: ModelReplica
  readonly cookies: Cookies
  /** When the browser's request came. */
  readonly cameAt: number
  stage: Stage
  /** When it came, or when its response was written: time does not pass over it for long. */
  since: number
  isPaused: boolean
  /** The browser that sent it is gone. */
  isForgotten: boolean
  lease: string
  leasedAt: number
  isInDoubt: boolean
  sentAt: number
  /** The refresh token of a success. */
  answer: number | undefined
  /** The cookies of a success, until they are committed. */
  next: Cookies | undefined
  revokes: number
  response: Response
}

export interface Response {
  readonly status: 200 | 401 | 503
  readonly cookies?: Cookies
  readonly clears?: boolean
}

/** One thing that can happen now. */
export interface Event {
  readonly kind: 'step' | 'ask' | 'time' | 'browser' | 'fault'
  readonly label: string
  /** Some requests are slow, so that others overtake them by far. */
  readonly haste?: number
  readonly happen: () => void
}
