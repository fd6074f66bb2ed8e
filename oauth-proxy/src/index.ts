export { createOAuthProxy, type OAuthProxy, type OAuthProxyDeps } from './handler.ts'
export { gatewaySecretHeader } from './forward-auth-gateway.ts'
export type {
  ForwardAuthOptions,
  GatewayStyle,
  OAuthProxyOptions,
  RateLimits,
  RouteOptions,
  RouteSession,
} from './options.ts'
export type { RateLimit } from './rate-limit.ts'
export { deniedRequestHeaders } from './request-headers.ts'
export { hardenServer, serverOptions } from './server.ts'
