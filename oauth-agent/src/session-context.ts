import type { Request } from 'express'
import { TokenHandlerError, type ContextBinding, type ContextFacts, type Logger } from '@token-handler/shared'
import type { Recorder } from './audit-trail.ts'
import type { RefreshCookieClaims } from './session-claims.ts'

/** Holds a request against where the login of its session came from; does nothing where no binding is configured. */
export interface SessionContext {
  /** What a session is to be bound to that this request begins. */
  factsOf(req: Request): ContextFacts | undefined
  /** Whether the session may be used from there. A change is recorded once a session and place. */
  admits(req: Request, claims: RefreshCookieClaims): boolean
  /** @throws TokenHandlerError `context_changed` where it may not. */
  check(req: Request, claims: RefreshCookieClaims): void
}

export function createSessionContext({
  binding,
  audit,
  logger,
}: {
  readonly binding: ContextBinding | undefined
  readonly audit: Recorder
  readonly logger: Logger
}): SessionContext {
  function admits(req: Request, { sid, sub, ctx }: RefreshCookieClaims): boolean {
    const change = binding?.judge(ctx, sid, req)
    if (change === undefined) return true
    const { reason, expected, seen, isDenied, isNew } = change
    if (isNew) {
      const outcome = isDenied ? 'refused' : 'success'
      audit.record({ event: 'context_changed', outcome, reason, sid, subject: sub, details: { expected, seen } })
      logger.warn({ event: 'context_changed', security: true, reason, outcome }, 'A session came from elsewhere.')
    }
    return !isDenied
  }

  return {
    factsOf: (req) => binding?.factsOf(req),
    admits,
    check(req, claims) {
      if (!admits(req, claims)) throw new TokenHandlerError('context_changed')
    },
  }
}
