import { request } from 'node:http'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { buildKeyRing, createCookieSealer, systemClock } from '@token-handler/shared'
import type { Bench } from './bench.ts'
import type { Contender, ContenderName } from './contenders/contender.ts'
import { keyContext, publicOrigin } from './site.ts'
import { fakeToken, sessionCookies } from './traffic.ts'

const withoutAuthentication: ReadonlySet<ContenderName> = new Set(['bare', 'bare_twin', 'nginx'])

/**
 * Makes sure that a contender does the work that it is compared for: with a session the API gets the bearer token and no
 * session cookie, without one it gets nothing.
 * @throws Error when it does not.
 */
export async function verifyContender(bench: Bench, name: ContenderName, contender: Contender): Promise<void> {
  const ring = buildKeyRing(bench.keyFile, keyContext)
  const token = contender.token ?? fakeToken(900)
  const cookies =
    contender.cookies?.[0] ??
    sessionCookies(
      token,
      createCookieSealer(() => ring, systemClock),
    )
  const status = await get(contender.port, cookies)
  const { headers } = await bench.upstream.ask({ do: 'last' })
  if (status !== 200) throw new Error(`${name} answers ${status} to a request with a session`)
  if (withoutAuthentication.has(name)) return
  if (headers.authorization !== `Bearer ${token}`) throw new Error(`${name} does not send the access token`)
  if (headers.cookie !== undefined) throw new Error(`${name} lets cookies through`)
  if ((await get(contender.port)) === 200) throw new Error(`${name} serves a request without a session`)
}

async function get(port: number, cookie?: string): Promise<number | undefined> {
  const headers = {
    host: new URL(publicOrigin).host,
    'token-handler-version': '1',
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'cors',
    'sec-fetch-dest': 'empty',
    ...(cookie === undefined ? {} : { cookie }),
  }
  const sent = request({ port, host: '127.0.0.1', path: '/api/orders/1', headers, agent: false }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  answer.resume()
  return answer.statusCode
}
