import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { until } from '../support/until.ts'
import { refusedEverywhere, tryToHijack } from './hijack.ts'
import { useDemo } from './support.ts'

const bed = useDemo()
const handshakes: IncomingHttpHeaders[] = []
let foreign: Server

beforeAll(async () => {
  bed.demo.tokenHandler.server.prependListener('upgrade', ({ headers }) => handshakes.push(headers))
  foreign = createServer((_req, res) => {
    res.setHeader('content-type', 'text/html; charset=utf-8').end('<!doctype html><title>foreign</title>')
  })
  foreign.listen(0, '127.0.0.1')
  await once(foreign, 'listening')
})
afterAll(async () => {
  foreign.close()
  foreign.closeAllConnections()
  await once(foreign, 'close')
})

/** Ports make origins and no sites: `SameSite=Strict` cookies go along from every server of the host. */
describe.each([
  ['another port of the host', 'localhost', true],
  ['another site', '127.0.0.1', false],
])('where SPA, agent and proxy share an origin, %s', (_what, host, hasCookies) => {
  it('can take over no stream of the session: the API sees not a byte', async () => {
    const victim = await bed.logIn()
    const thief = await victim.context().newPage()
    const origin = `http://${host}:${(foreign.address() as AddressInfo).port}`
    await thief.goto(origin)
    const [received, requests] = [bed.demo.api.received.length, bed.demo.wire.requests.length]
    handshakes.length = 0
    expect(await tryToHijack(thief, bed.demo.url)).toEqual(refusedEverywhere)
    // They did arrive, from where they came, and with the session where the browser sends it along.
    expect(handshakes.map((headers) => headers.origin)).toEqual([origin, origin])
    expect(handshakes.map(({ cookie = '' }) => cookie.includes('-sid='))).toEqual([hasCookies, hasCookies])
    const asked = () => bed.demo.wire.requests.slice(requests).filter(({ path }) => path === '/api/events')
    await until('the requests', () => asked().length === 2)
    expect(asked().map(({ headers }) => headers.cookie?.includes('-sid=') ?? false)).toEqual([hasCookies, false])
    expect(bed.demo.api.received.slice(received)).toEqual([])
    expect(bed.demo.tokenRequests('refresh_token')).toEqual([])
  })
})
