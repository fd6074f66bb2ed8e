import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { makeCertificates } from '../support/certificates.ts'

/** A web server of somebody else, under several names. */
export interface ForeignSite {
  /** PEM of the authority that signed its certificate. */
  readonly authority: string
  /** Its origin under one of its names, such as `https://evil.test:1234`. */
  origin(name: string): string
  /** What it answers to everything but `/`. */
  page: string
  /** The requests that it got. */
  readonly received: readonly { readonly url: string; readonly headers: IncomingHttpHeaders }[]
  close(): Promise<void>
}

/** Serves an empty page at `/`, and the page that a test wants at every other path. */
export async function startForeignSite(names: readonly string[]): Promise<ForeignSite> {
  const { authority, server: pair } = await makeCertificates(names)
  const received: { url: string; headers: IncomingHttpHeaders }[] = []
  const site: { page: string } = { page: '' }
  const server = createServer({ cert: pair.certificate, key: pair.privateKey }, (req, res) => {
    received.push({ url: req.url ?? '', headers: req.headers })
    // A name, so that frames and popups of it can be told from others.
    const page = req.url === '/' ? '' : site.page
    res.setHeader('content-type', 'text/html; charset=utf-8').end(`<!doctype html><title>foreign</title>${page}`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return Object.assign(site, {
    authority,
    received,
    origin: (name: string) => `https://${name}:${port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  })
}
