import type {
  AccessCookieClaims,
  AuditLog,
  ContextBinding,
  Logger,
  Peers,
  ReceivedRequest,
} from '@token-handler/shared'
import type { Route } from './routes.ts'

/** Whether a session may be used from where a request comes from. */
export type AdmitContext = (req: ReceivedRequest, route: Route, session: AccessCookieClaims) => boolean

/** Judges by facts that are sealed in the access cookie. A change is recorded once a session and place, not each time. */
export function createAdmitContext(
  binding: ContextBinding,
  {
    audit,
    logger,
    peers,
  }: { readonly audit: Pick<AuditLog, 'record'>; readonly logger: Logger; readonly peers: Peers },
): AdmitContext {
  return (req, route, { sid, sub, ctx }) => {
    const change = binding.judge(ctx, sid, req)
    if (change === undefined) return true
    const { reason, expected, seen, isDenied, isNew } = change
    if (isNew) {
      const outcome = isDenied ? 'refused' : 'success'
      audit.record({
        event: 'context_changed',
        outcome,
        reason,
        sid,
        subjectHash: sub,
        route: route.path,
        method: req.method,
        address: peers.clientAddressOf(req),
        details: { expected, seen },
      })
      const fields = { event: 'context_changed', security: true, reason, outcome, route: route.path }
      logger.warn(fields, 'A session came from elsewhere.')
    }
    return !isDenied
  }
}
