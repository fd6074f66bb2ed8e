import type { IncomingMessage } from 'node:http'
import { isEncrypted } from './browser-sessions.ts'

/**
 * Whether a page of this listener sent a form: `Origin` has to be there, with the very host and port that the request is
 * for, and where the browser says more (Fetch Metadata), that has to agree. Behind a terminator of TLS the scheme is its
 * matter: plain HTTP here takes both.
 */
export function isFromThisPage(req: IncomingMessage): boolean {
  const { origin, host, 'sec-fetch-site': site = 'same-origin' } = req.headers
  if (origin === undefined || host === undefined || site !== 'same-origin') return false
  return origin === `https://${host}` || (!isEncrypted(req) && origin === `http://${host}`)
}
