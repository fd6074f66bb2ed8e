import {
  commitGeneration,
  endSession,
  enterDoubt,
  refuseGeneration,
  releaseLease,
  showGeneration,
} from '../../../shared/src/ledger/protocol.ts'

/** The steps under test, and the holder's rules of docs/sessions.md; each can be broken to see that it is needed. */
export interface Protocol {
  readonly show: typeof showGeneration
  readonly commit: typeof commitGeneration
  readonly release: typeof releaseLease
  readonly doubt: typeof enterDoubt
  readonly refuse: typeof refuseGeneration
  readonly end: typeof endSession
  /** The lease is looked at again just before sending. */
  readonly looksAgain: boolean
  /** A success is sent to the browser though it could not be committed. */
  readonly sendsUncommitted: boolean
  /** A success that finds the session ended is revoked. */
  readonly revokesLateSuccess: boolean
  /** Refused generations change no cookie. */
  readonly sparesCookies: boolean
}

export const realProtocol: Protocol = {
  show: showGeneration,
  commit: commitGeneration,
  release: releaseLease,
  doubt: enterDoubt,
  refuse: refuseGeneration,
  end: endSession,
  looksAgain: true,
  sendsUncommitted: true,
  revokesLateSuccess: true,
  sparesCookies: true,
}
