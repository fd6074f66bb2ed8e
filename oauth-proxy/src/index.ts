export { createOAuthProxy, type OAuthProxy, type OAuthProxyDeps } from './handler.ts'
export type { OAuthProxyOptions, RateLimits, RouteOptions, RouteSession } from './options.ts'
export type { RateLimit } from './rate-limit.ts'
export { hardenServer, serverOptions } from './server.ts'
