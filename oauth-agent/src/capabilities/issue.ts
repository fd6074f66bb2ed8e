import type { Request } from 'express'
import type { Holder } from './requirements.ts'

export interface IssueRequest {
  readonly req: Request
  readonly holder: Holder
  /** Seconds that the credential may live: neither longer than configured nor than the session. */
  readonly ttlSeconds: number
}

/** What is answered besides `kind`. */
export interface Issued {
  readonly expires_in: number
  readonly [member: string]: unknown
}

/**
 * Makes a credential for somebody who may have it.
 * @throws TokenHandlerError `invalid_request`, `claim_missing`, `capability_unavailable`, `capability_timeout`
 */
export type Issue = (request: IssueRequest) => Promise<Issued>
