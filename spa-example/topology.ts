import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createPublicServer } from '@token-handler/cli'
import { serverOptions } from '@token-handler/oauth-proxy'
import type { Logger } from '@token-handler/shared'
import { keepCertificates } from './certificates.ts'

/** Where the parts are as browsers see them: `same-origin`, or same site and another origin. */
export type TopologyName = 'same-origin' | 'cross-origin'

/** Listening servers without handlers: their ports are part of redirect URIs and origins, so they come first. */
export interface Topology {
  readonly spaOrigin: string
  /** Origin of agent and proxy. */
  readonly backendOrigin: string
  readonly spaServer: Server
  /** The same server in the `same-origin` topology. */
  readonly backendServer: Server
  /** PEM file of the authority to trust, where there is TLS. */
  readonly authorityFile: string | undefined
  close(): Promise<void>
}

export interface TopologyOptions {
  readonly name: TopologyName
  readonly ports: { readonly web: number; readonly gateway: number }
  /** Origin of `same-origin` where a reverse proxy stands in front. Default: `http://localhost` and the port. */
  readonly publicOrigin?: string | undefined
  /** Folder for the certificates of `cross-origin`; they are kept there. */
  readonly certificateFolder: string
  readonly logger: Logger
}

/** Chromium and Firefox resolve every name under `localhost` to this machine (RFC 6761 section 6.3). */
const domain = 'example.localhost'

export async function openTopology({
  name,
  ports,
  publicOrigin,
  certificateFolder,
  logger,
}: TopologyOptions): Promise<Topology> {
  const options = { configFile: '', options: serverOptions, logger }
  if (name === 'same-origin') {
    const server = createPublicServer({ host: '127.0.0.1', port: ports.web }, options)
    const port = await listen(server, ports.web)
    const origin = publicOrigin ?? `http://localhost:${port}`
    return {
      spaOrigin: origin,
      backendOrigin: origin,
      spaServer: server,
      backendServer: server,
      authorityFile: undefined,
      close: () => close(server),
    }
  }
  const files = await keepCertificates(certificateFolder, [`www.${domain}`, `api.${domain}`, `other.${domain}`])
  const tls = {
    certificate_file: files.certificate,
    private_key_file: files.privateKey,
    minimum_version: 'TLSv1.3',
  } as const
  const [spaServer, backendServer] = [ports.web, ports.gateway].map((port) =>
    createPublicServer({ host: '127.0.0.1', port, tls }, options),
  ) as [Server, Server]
  const closeBoth = async (): Promise<void> => void (await Promise.all([close(spaServer), close(backendServer)]))
  try {
    return {
      spaOrigin: `https://www.${domain}:${await listen(spaServer, ports.web)}`,
      backendOrigin: `https://api.${domain}:${await listen(backendServer, ports.gateway)}`,
      spaServer,
      backendServer,
      authorityFile: files.authority,
      close: closeBoth,
    }
  } catch (error) {
    await closeBoth()
    throw error
  }
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}
