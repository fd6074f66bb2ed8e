export { createOAuthProxy, type OAuthProxy, type OAuthProxyDeps } from './handler.ts'
export type { OAuthProxyOptions, RouteOptions, RouteSession } from './options.ts'
export { hardenServer, serverOptions } from './server.ts'
