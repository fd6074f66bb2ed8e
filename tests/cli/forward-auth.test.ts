import { rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type ConnectionOptions } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import { fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import { checkConfig, generateKeyFile, silentAuditLog, type Logger } from '@token-handler/shared'
import { configured } from '../shared/configuration.ts'
import { makeCertificates, writeCertificates, type Certificates } from '../support/certificates.ts'
import { exchange, rawRequest } from '../support/raw-client.ts'
import { workingFolder } from './command-line.ts'

const secret = 'a-gateway-secret-of-more-than-32-characters'
const asked = [
  'Host: x',
  'X-Original-Method: GET',
  'X-Original-URI: /api/open',
  'X-Original-Host: app.example',
  'Origin: https://app.example',
]
const routes = [{ path: '/api/open', upstream: 'http://api.example', session: 'none' }]

const lines: Readonly<Record<string, unknown>>[] = []
const keep: Logger['info'] = (fields) => void lines.push(fields)
const logger: Logger = { debug: keep, info: keep, warn: keep, error: keep }
const opened: { close(): unknown }[] = []
afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

async function start(
  forwardAuth: Readonly<Record<string, unknown>> | undefined,
  only?: 'agent' | 'proxy',
): Promise<RunningTokenHandler> {
  const config = checkConfig(
    configured({
      listen: { port: 0 },
      ledger: { type: 'memory' },
      proxy: { routes },
      shutdown_seconds: 1,
      ...(forwardAuth === undefined ? {} : { forward_auth: { gateway: 'nginx', ...forwardAuth } }),
    }),
  )
  const { issuer, client_id: clientId } = config.authorization_server
  const keys = fixedKeys(generateKeyFile(new Date()), { issuer, clientId })
  const running = await startTokenHandler({ config, keys, logger, only, audit: silentAuditLog })
  opened.push(running)
  return running
}

function portOf({ forwardAuthServer }: RunningTokenHandler): number {
  return (forwardAuthServer?.address() as AddressInfo | undefined)?.port ?? 0
}

describe('the listener of forward auth', () => {
  it('is told in the log, answers gateways, and closes with the rest', async () => {
    const running = await start({ listen: { port: 0 }, gateway_secret: secret })
    const port = portOf(running)
    expect(lines.find(({ event }) => event === 'started')?.['forwardAuthAddress']).toBe(`127.0.0.1:${port}`)
    const answer = await exchange(
      port,
      rawRequest('GET /authorize', [...asked, `Token-Handler-Gateway-Secret: ${secret}`]),
    )
    expect([answer.status, answer.values('authorization')]).toEqual([200, ['']])
    expect((await exchange(port, rawRequest('GET /authorize', asked))).status).toBe(403)
    await opened.pop()?.close()
    await expect(exchange(port, rawRequest('GET /authorize', asked))).rejects.toThrow(/ECONNREFUSED/)
    expect(JSON.stringify(lines)).not.toContain(secret)
  })

  it('answers nothing on the public listener', async () => {
    const running = await start({ listen: { port: 0 }, gateway_secret: secret })
    const { port } = running.server.address() as AddressInfo
    const request = rawRequest('GET /authorize', [...asked, `Token-Handler-Gateway-Secret: ${secret}`])
    const answer = await exchange(port, request)
    expect([answer.status, answer.values('authorization')]).toEqual([404, []])
  })

  it('is not there unless it is configured, nor where the agent runs alone', async () => {
    expect((await start(undefined)).forwardAuthServer).toBeUndefined()
    expect((await start({ listen: { port: 0 }, gateway_secret: secret }, 'agent')).forwardAuthServer).toBeUndefined()
  })

  it('is hardened like the public one', async () => {
    const port = portOf(await start({ listen: { port: 0 }, gateway_secret: secret }))
    const garbage = await exchange(port, 'not http\r\n\r\n')
    expect([garbage.status, garbage.json().code]).toEqual([400, 'invalid_request'])
    const large = await exchange(port, rawRequest('GET /authorize', ['Host: x', `Cookie: ${'a'.repeat(40_000)}`]))
    expect([large.status, large.json().code]).toEqual([431, 'headers_too_large'])
    const tunnel = await exchange(port, rawRequest('CONNECT x:1', ['Host: x']))
    expect([tunnel.status, tunnel.json().code]).toEqual([405, 'method_not_allowed'])
  })
})

describe('client certificates of gateways', () => {
  async function startTls(): Promise<{ port: number; listener: Certificates; gateways: Certificates }> {
    const listener = await makeCertificates(['localhost'])
    const gateways = await makeCertificates(['gateway.test'], 'clientAuth')
    const { folder, certificateFile, privateKeyFile } = writeCertificates(listener)
    opened.push({ close: () => rmSync(folder, { recursive: true }) })
    const clientCaFile = join(folder, 'gateways.pem')
    writeFileSync(clientCaFile, gateways.authority)
    const tls = { certificate_file: certificateFile, private_key_file: privateKeyFile, client_ca_file: clientCaFile }
    return { port: portOf(await start({ listen: { port: 0, tls } })), listener, gateways }
  }

  async function ask(port: number, options: ConnectionOptions): Promise<{ answer: string; session: Buffer[] }> {
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ...options })
    const session: Buffer[] = []
    socket.on('session', (ticket: Buffer) => session.push(ticket))
    socket.write(rawRequest('GET /authorize', [...asked, 'Connection: close']))
    return { answer: await text(socket), session }
  }

  it('open it in place of the secret; of another authority, or none, they open nothing', async () => {
    const { port, listener, gateways } = await startTls()
    const shown = ({ server }: Certificates): ConnectionOptions => ({
      cert: server.certificate,
      key: server.privateKey,
    })
    const ca = listener.authority
    expect((await ask(port, { ca, ...shown(gateways) })).answer).toMatch(/^HTTP\/1\.1 200 /)
    const others = await makeCertificates(['gateway.test'], 'clientAuth')
    expect((await ask(port, { ca, ...shown(others) })).answer).toMatch(/^HTTP\/1\.1 403 /)
    const none = await ask(port, { ca })
    expect(none.answer).toMatch(/^HTTP\/1\.1 403 /)
    expect(none.session.length).toBeGreaterThan(0)
    // A resumed session has no certificate, either.
    for (const session of none.session) {
      expect((await ask(port, { ca, session })).answer).toMatch(/^HTTP\/1\.1 403 /)
    }
  })
})

describe('token-handler start', () => {
  it('refuses to put it on the public port, and says so by the path in the file', async () => {
    const folder = workingFolder()
    opened.push({ close: () => folder.remove() })
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    folder.configure({ forward_auth: { gateway: 'caddy', listen: { host: '0.0.0.0', port: 3000 } } })
    const { code, stderr } = await folder.run(['start'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/forward_auth\.listen\.port: must differ from listen\.port/)
    expect(stderr).toMatch(/forward_auth\.peers: must name the gateways/)
    expect(stderr).toMatch(/forward_auth\.gateway_secret: is required/)
  })
})
