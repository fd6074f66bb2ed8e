export { createOAuthAgent, type OAuthAgent, type OAuthAgentDeps, type Readiness } from './app.ts'
export type { AuthorizationServerOptions, ClientAuthentication, OAuthAgentOptions, SessionOptions } from './options.ts'
export type * from './capabilities/options.ts'
export type { RateLimit } from './rate-limit.ts'
