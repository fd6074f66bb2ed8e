/**
 * The closed set of audit events, each with what it means; docs/audit.md and docs/audit.schema.json list the same ones (a
 * test compares). A new event is a line here, and one in the documentation.
 */
export const auditEvents = {
  // Credentials that were issued, or asked for
  login: 'A login ended: cookies of a new session were issued, or not.',
  refresh: 'A session was refreshed: successor cookies were issued, or not.',
  capability: 'A temporary credential was asked for, and issued or refused.',
  // Decisions about sessions
  logout: 'A user logged out.',
  session_ended: 'The agent ended a session for another reason than a logout.',
  session_superseded: 'Replaced session cookies were shown again: copied, or restored by the browser.',
  session_refused: 'A request came with the cookies of a session that was ended.',
  context_changed: 'A session was used from another network or browser than the one that it is bound to.',
  backchannel_logout: 'The authorization server told the end of sessions.',
  revocation: 'Somebody revoked sessions, or tried what a revocation would do.',
  // Decisions about requests
  guard_refused: 'A request from an untrusted source was refused.',
  policy_refused: 'A session did not have what a route or capability asks for.',
  rate_limited: 'A session or an address asked too often.',
  request: 'A request went to an API (only where every request is recorded).',
  // Operation
  admin: 'Somebody used the admin API or a command that changes what is in force.',
  keys_changed: 'The key ring was read again, or was changed.',
  started: 'The process started to serve.',
  stopped: 'The process stopped to serve.',
  alert: 'A threshold of the anomaly rules was reached.',
  // The log itself
  log_opened: 'A part of the log begins.',
  log_closed: 'A part of the log ends as it should.',
  records_lost: 'Events could not be written and are lost.',
  records_removed: 'Files past their retention were removed.',
  subject_exported: 'What is recorded of a subject was exported.',
  subject_erased: 'What names a subject was erased from the log.',
} as const satisfies Record<string, string>

/** Name of an audit event. */
export type AuditEventName = keyof typeof auditEvents

/** `success`: done or issued; `refused`: we said no; `failure`: it did not work; `pending`: not decided yet. */
export const auditOutcomes = ['success', 'refused', 'failure', 'pending'] as const
export type AuditOutcome = (typeof auditOutcomes)[number]

/** Facts that only some events have. A closed set, so that nothing gets into the log by accident. */
export interface AuditDetails {
  /** How many there were, of whatever the event counts. */
  readonly count?: number
  /** Length of the time that was counted over. */
  readonly window_seconds?: number
  /** Seconds that an issued credential lives. */
  readonly expires_in?: number
  /** Instant that a revocation or a range of records is about; ISO 8601. */
  readonly before?: string
  readonly after?: string
  /** Nothing was changed, only worked out. */
  readonly dry_run?: boolean
  /** Sessions that a revocation ends, as far as known. */
  readonly sessions?: number
  /** Key ids. */
  readonly kids?: readonly string[]
  /** Authentication context: the one that is there, or is asked for. */
  readonly acr?: string
  readonly amr?: readonly string[]
  /** Generation of the session's cookies. */
  readonly generation?: number
  /** Name of the anomaly rule. */
  readonly rule?: string
  /** Names of the log's own files. */
  readonly files?: readonly string[]
  /** What was bound and what was seen, already shortened or hashed. */
  readonly expected?: string
  readonly seen?: string
  /** Version of the program. */
  readonly version?: string
}

/**
 * One thing that happened. Give subject, sid and address as they are: the log makes a keyed hash of the first, a hash of
 * the second, and cuts the third to its network. Never a token, code, cookie, query string or body.
 */
export interface AuditEvent {
  readonly event: AuditEventName
  readonly outcome: AuditOutcome
  /** Stable word for why: an error code, an OAuth error or the reason of an end. */
  readonly reason?: string | undefined
  /** OAuth client; the configured one unless given. */
  readonly client?: string | undefined
  /** The user as the ID token's `sub` names him. */
  readonly subject?: string | undefined
  /** `identityHash(issuer, sub)`, where the subject itself is not known. */
  readonly subjectHash?: string | undefined
  readonly sid?: string | undefined
  /** Space-separated (RFC 6749 section 3.3). */
  readonly scope?: string | undefined
  /** Path of a configured route; never the path of a request. */
  readonly route?: string | undefined
  readonly method?: string | undefined
  /** HTTP status of the answer, where it is known. */
  readonly status?: number | undefined
  /** Name of a configured capability. */
  readonly capability?: string | undefined
  /** IP address of the client. */
  readonly address?: string | undefined
  /** Id that the answer and the operational log carry too. */
  readonly correlationId?: string | undefined
  /** Who did it, where it was not the session's user: name of an admin key, or `command-line`. */
  readonly actor?: string | undefined
  /** Kind of what a revocation or an admin call is about: `session`, `subject`, `client`, `key`, `all`, `sessions`, … */
  readonly target?: string | undefined
  readonly details?: AuditDetails | undefined
}
