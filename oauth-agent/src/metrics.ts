import { Counter, type Registry } from '@token-handler/shared'

/** A step of the refresh protocol (docs/sessions.md, whose rows are named). */
export type RefreshStep =
  /** Rows 2 and 7: a refresh token was sent. */
  | 'sent'
  /** Row 7: one that may have been spent was sent again. */
  | 'sent_in_doubt'
  /** Row 4: the successor was written down. */
  | 'committed'
  /** Row 4, but the store was away: the browser alone holds the successor until it is back. */
  | 'commit_late'
  /** Row 10: cookies that were made before were given out again. */
  | 'replayed'
  /** Row 3, and the back-off of row 7: somebody else's outcome was waited for. */
  | 'waited'
  /** A request of this process joined another one that showed the same generation. */
  | 'shared'
  /** Row 5. */
  | 'not_processed'
  /** Row 6. */
  | 'in_doubt'
  /** Row 8. */
  | 'refused'
  /** Row 11. */
  | 'superseded'
  /** Row 13: the refreshed tokens were another user's, or not to be trusted. */
  | 'subject_changed'
  /** The store could not be asked, or rules may have been missed for too long. */
  | 'store_unavailable'

/** What the agent counts. */
export interface AgentMetrics {
  /** There is such a route, or `other`. */
  readonly route: (route: string) => void
  /** @param route Path of a route of ours, or `other`. @param outcome `ok`, our error code, or `client_gone`. */
  readonly request: (route: string, outcome: string) => void
  /** A login was completed: cookies of a new session were issued. */
  readonly login: () => void
  readonly refresh: (step: RefreshStep) => void
  /** @param name Name of a configured capability, or `other`. @param outcome `issued`, or our error code. */
  readonly capability: (name: string, outcome: string) => void
}

const refreshSteps: readonly RefreshStep[] = [
  'sent',
  'sent_in_doubt',
  'committed',
  'commit_late',
  'replayed',
  'waited',
  'shared',
  'not_processed',
  'in_doubt',
  'refused',
  'superseded',
  'subject_changed',
  'store_unavailable',
]

export function createAgentMetrics(registry: Registry): AgentMetrics {
  const requests = new Counter({
    name: 'token_handler_agent_requests_total',
    help: 'Requests to the OAuth Agent by route and outcome: ok, or our error code.',
    labelNames: ['route', 'outcome'],
    registers: [registry],
  })
  const logins = new Counter({
    name: 'token_handler_logins_total',
    help: 'Logins that were completed: cookies of a new session were issued.',
    registers: [registry],
  })
  const steps = new Counter({
    name: 'token_handler_refresh_steps_total',
    help: 'Steps of the refresh protocol.',
    labelNames: ['step'],
    registers: [registry],
  })
  const capabilities = new Counter({
    name: 'token_handler_capabilities_total',
    help: 'Capabilities that were asked for, by name and outcome: issued, or our error code.',
    labelNames: ['capability', 'outcome'],
    registers: [registry],
  })
  // A rate is seen from the first event on only if there was a zero before it.
  for (const step of refreshSteps) steps.inc({ step }, 0)
  return {
    // Nor does an alert on the error that should not be see a single one otherwise.
    route: (route) => requests.inc({ route, outcome: 'server_error' }, 0),
    request: (route, outcome) => requests.inc({ route, outcome }),
    login: () => logins.inc(),
    refresh: (step) => steps.inc({ step }),
    capability: (capability, outcome) => capabilities.inc({ capability, outcome }),
  }
}
