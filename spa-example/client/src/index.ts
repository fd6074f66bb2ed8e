export {
  createTokenHandlerClient,
  type ClientInternals,
  type LogoutOptions,
  type RefreshOptions,
  type TokenHandlerClient,
} from './client.ts'
export type { ApiRequestInit } from './api-fetch.ts'
export type { CallbackOptions, LoginOptions, TokenHandlerClientOptions } from './login-parts.ts'
export {
  CookiesNotStoredError,
  SessionEndedError,
  StepUpRequiredError,
  TemporaryError,
  TokenHandlerClientError,
  type ClientErrorCode,
  type CookiesNotStoredReason,
} from './errors.ts'
export type { SessionChange, SessionChangeReason, SessionListener } from './session-store.ts'
export { secondsLeft, type Session, type SessionDeadline } from './session.ts'
