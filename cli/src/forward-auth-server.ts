import type { Server, ServerOptions } from 'node:http'
import { hardenServer, serverOptions, type OAuthProxy } from '@token-handler/oauth-proxy'
import type { Config, Logger } from '@token-handler/shared'
import { createPublicServer } from './public-server.ts'

/** A sub-request repeats the target in a header and adds the gateway's own to all that the client sent. */
const options: ServerOptions = { ...serverOptions, maxHeaderSize: 2 * (serverOptions.maxHeaderSize ?? 0) }

/**
 * The listener that gateways ask, hardened like the public one; it serves nothing else.
 * @returns `undefined` unless forward auth is configured.
 */
export function createForwardAuthServer(
  { forward_auth: forwardAuth }: Config,
  { authorize }: OAuthProxy,
  { configFile, logger }: { configFile: string; logger: Logger },
): Server | undefined {
  if (forwardAuth === undefined || authorize === undefined) return undefined
  const server = createPublicServer(forwardAuth.listen, { configFile, options, logger, section: 'forward_auth.listen' })
  hardenServer(server, logger)
  server.on('request', authorize)
  return server
}
