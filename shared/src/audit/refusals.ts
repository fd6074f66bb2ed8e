import type { ErrorCode } from '../errors.ts'
import type { AuditEventName } from './events.ts'

/** Refused requests that are security decisions. What else is refused is a mistake, or an expired token. */
const events: Partial<Record<ErrorCode, AuditEventName>> = {
  untrusted_origin: 'guard_refused',
  missing_header: 'guard_refused',
  cross_site: 'guard_refused',
  untrusted_destination: 'guard_refused',
  missing_origin: 'guard_refused',
  insufficient_scope: 'policy_refused',
  step_up_required: 'policy_refused',
  claim_missing: 'policy_refused',
  too_many_requests: 'rate_limited',
  session_ended: 'session_refused',
}

/** The audit event of a refusal, or `undefined` where nothing was decided about security. */
export function refusalEvent(code: ErrorCode): AuditEventName | undefined {
  return events[code]
}
