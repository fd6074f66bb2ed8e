import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { clientCertificateOf } from '@token-handler/shared'
import { makeCertificates, writeCertificates, type Certificates } from '../support/certificates.ts'
import { adminKeys, startAdmin, type AdminUnderTest } from './admin-under-test.ts'

let admin: AdminUnderTest
let listener: Certificates
let operators: Certificates
let folder: string

beforeEach(async () => {
  listener = await makeCertificates(['localhost', '127.0.0.1'])
  operators = await makeCertificates(['alice.operators.test'], 'clientAuth')
  const files = writeCertificates(listener)
  folder = files.folder
  const clientCaFile = join(folder, 'operators.pem')
  writeFileSync(clientCaFile, operators.authority)
  admin = await startAdmin({
    admin: {
      port: 0,
      tls: {
        certificate_file: files.certificateFile,
        private_key_file: files.privateKeyFile,
        client_ca_file: clientCaFile,
      },
    },
  })
})
afterEach(async () => {
  await admin.close()
  rmSync(folder, { recursive: true })
})

interface Called {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** @returns The status of a call with the certificate of a client, or without one. */
async function call(...asked: Parameters<typeof answerTo>): Promise<number> {
  return (await answerTo(...asked)).status
}

async function answerTo(
  path: string,
  client?: Certificates['server'],
  headers: Record<string, string> = {},
  form?: Record<string, string>,
): Promise<Called> {
  const { port } = new URL(admin.adminUrl)
  const shown = client === undefined ? {} : { cert: client.certificate, key: client.privateKey }
  const sent = form === undefined ? headers : { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  const method = form === undefined ? 'GET' : 'POST'
  const options = { method, host: 'localhost', port, path, ca: listener.authority, ...shown, headers: sent }
  const req = request({ ...options, agent: false })
  const { promise, resolve, reject } = Promise.withResolvers<Called>()
  req.on('response', (res) => {
    void text(res).then((body) => resolve({ status: res.statusCode ?? 0, headers: res.headers, body }))
  })
  req.on('error', reject)
  req.end(form === undefined ? undefined : new URLSearchParams(form).toString())
  return promise
}

async function openTls(options: ConnectionOptions): Promise<TLSSocket> {
  const { port } = new URL(admin.adminUrl)
  const socket = connect({
    port: Number(port),
    host: '127.0.0.1',
    servername: 'localhost',
    ca: listener.authority,
    ...options,
  })
  await once(socket, 'secureConnect')
  return socket
}

/** The ticket of a connection that showed no certificate. */
async function sessionWithout(): Promise<Buffer> {
  const socket = await openTls({})
  const ticket = once(socket, 'session') as Promise<[Buffer]>
  socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  socket.resume()
  return (await ticket)[0]
}

describe('client certificates at the admin listener', () => {
  it('open the API, by the name in them', async () => {
    expect(await call('/admin/rules', operators.server)).toBe(200)
    expect(admin.audit.events.at(-1)?.actor).toBe('certificate alice.operators.test')
  })

  it('of another authority, or none, open nothing but what is open to all', async () => {
    expect(await call('/admin/rules')).toBe(401)
    expect(await call('/admin/rules', listener.server)).toBe(401)
    expect(await call('/admin/rules', undefined, { authorization: `Bearer ${adminKeys.alice}` })).toBe(401)
    expect(await call('/livez')).toBe(200)
  })

  it('are asked of resumed sessions too: one without opens nothing', async () => {
    const session = await sessionWithout()
    const resumed = await openTls({ session })
    expect(resumed.isSessionReused()).toBe(true)
    resumed.write('GET /admin/rules HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    expect(await text(resumed)).toMatch(/^HTTP\/1\.1 401 /)
  })

  it('count by what was shown, whatever Node says of a session that has shown nothing', () => {
    const shown = new X509Certificate(operators.server.certificate)
    const socket = (authorized: boolean, certificate: X509Certificate | undefined) => ({
      authorized,
      getPeerX509Certificate: () => certificate,
    })
    expect(clientCertificateOf(socket(true, undefined))).toBeUndefined()
    expect(clientCertificateOf(socket(false, shown))).toBeUndefined()
    expect(clientCertificateOf({})).toBeUndefined()
    expect(clientCertificateOf(socket(true, shown))).toBe(shown)
  })

  it('open the operations page without a key; the cookie is Secure, and nothing without the certificate', async () => {
    const shown = await answerTo('/operations', operators.server)
    expect(shown.body).toContain('certificate alice.operators.test')
    const [line = ''] = shown.headers['set-cookie'] ?? []
    expect(line).toMatch(
      /^__Secure-th-operations=[\w-]{43}; Path=\/operations; Max-Age=1800; HttpOnly; SameSite=Strict; Secure$/,
    )
    const cookie = line.split(';')[0] ?? ''
    const again = await answerTo('/operations', operators.server, { cookie })
    expect(again.headers['set-cookie']).toBeUndefined()
    const [, token = ''] = /name="form_token" value="([\w-]+)"/.exec(again.body) ?? []
    expect(shown.body).toContain(token)
    expect((await answerTo('/operations', undefined, { cookie })).body).toContain('name="key"')

    const { port } = new URL(admin.adminUrl)
    const form = { form_token: token, target: 'all' }
    const path = '/operations/revoke/confirm'
    const own = { cookie, origin: `https://localhost:${port}` }
    expect(await call(path, undefined, own, form)).toBe(401)
    expect(await call(path, operators.server, { ...own, cookie: '' }, form)).toBe(403)
    // TLS ends here, so a page that came without it is not ours.
    expect(await call(path, operators.server, { ...own, origin: `http://localhost:${port}` }, form)).toBe(403)
    expect(admin.ledger.rules.size).toBe(0)
    expect(await call(path, operators.server, own, form)).toBe(303)
    expect(admin.audit.events).toContainEqual(
      expect.objectContaining({ event: 'revocation', actor: 'certificate alice.operators.test', target: 'all' }),
    )
  })
})
