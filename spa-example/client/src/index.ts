export {
  createTokenHandlerClient,
  type CallbackOptions,
  type LoginOptions,
  type LogoutOptions,
  type TokenHandlerClient,
  type TokenHandlerClientOptions,
} from './client.ts'
export {
  CookiesNotStoredError,
  SessionEndedError,
  TemporaryError,
  TokenHandlerClientError,
  type ClientErrorCode,
  type CookiesNotStoredReason,
} from './errors.ts'
export type { SessionChange, SessionChangeReason, SessionListener } from './session-store.ts'
export { secondsLeft, type Session, type SessionDeadline } from './session.ts'
