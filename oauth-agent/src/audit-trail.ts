import { AsyncLocalStorage } from 'node:async_hooks'
import type { Request, RequestHandler } from 'express'
import type { AuditEvent, AuditLog, Peers } from '@token-handler/shared'
import { correlationIdOf } from './errors.ts'

/** What the parts of the agent record by: they need not know which request they work for. */
export type Recorder = Pick<AuditLog, 'record'>

export interface AuditTrail {
  /** Adds client address and correlation id of the request that is being served to what is recorded. */
  readonly audit: Recorder
  /** Middleware, put directly before a route's own handler: what that handler leads to is recorded as this request's. */
  readonly follow: RequestHandler
  /** Records for a request that is not followed yet. */
  readonly recordFor: (req: Request, event: AuditEvent) => void
}

export function createAuditTrail(log: Recorder, peers: Peers): AuditTrail {
  const requests = new AsyncLocalStorage<Pick<AuditEvent, 'address' | 'correlationId'>>()
  const about = (req: Request): Pick<AuditEvent, 'address' | 'correlationId'> => ({
    address: peers.clientAddressOf(req),
    correlationId: correlationIdOf(req),
  })
  return {
    audit: { record: (event) => log.record({ ...requests.getStore(), ...event }) },
    follow: (req, _res, next) => requests.run(about(req), next),
    recordFor: (req, event) => log.record({ ...about(req), ...event }),
  }
}
