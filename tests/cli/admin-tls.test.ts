import { rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
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

/** @returns The status of a call with the certificate of a client, or without one. */
async function call(
  path: string,
  client?: Certificates['server'],
  headers: Record<string, string> = {},
): Promise<number> {
  const { port } = new URL(admin.adminUrl)
  const shown = client === undefined ? {} : { cert: client.certificate, key: client.privateKey }
  const req = request({ host: 'localhost', port, path, ca: listener.authority, ...shown, headers, agent: false })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  req.on('response', (res) => void text(res).then(() => resolve(res.statusCode ?? 0)))
  req.on('error', reject)
  req.end()
  return promise
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
})
