import { once } from 'node:events'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Server, ServerOptions } from 'node:http'
import { connect as connectTcp, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, describe, expect, it } from '@jest/globals'
import { ConfigError, type Logger } from '@token-handler/shared'
import { createPublicServer } from '../../cli/src/public-server.ts'
import { keepCertificates } from '../../spa-example/certificates.ts'
import { makeCertificates, writeCertificates, type Certificates } from '../support/certificates.ts'
import { until } from '../support/until.ts'

const names = ['api.example.localhost']
const opened: { close(): unknown }[] = []
const folders: string[] = []

afterEach(() => {
  for (const part of opened.splice(0)) part.close()
})
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

describe('the TLS listener', () => {
  it('speaks TLS 1.3 with a chain that verifies', async () => {
    const { port, certificates } = await start()
    const socket = await handshake(port, { ca: certificates.authority })
    expect(socket.authorized).toBe(true)
    expect(socket.getProtocol()).toBe('TLSv1.3')
  })

  it('refuses TLS 1.2 unless it is configured', async () => {
    const strict = await start()
    await expect(handshake(strict.port, { ca: strict.certificates.authority, maxVersion: 'TLSv1.2' })).rejects.toThrow(
      /protocol version/i,
    )
    const lenient = await start({ minimumVersion: 'TLSv1.2' })
    const socket = await handshake(lenient.port, { ca: lenient.certificates.authority, maxVersion: 'TLSv1.2' })
    expect(socket.getProtocol()).toBe('TLSv1.2')
    for (const maxVersion of ['TLSv1.1', 'TLSv1'] as const) {
      const older = handshake(lenient.port, {
        ca: lenient.certificates.authority,
        minVersion: 'TLSv1',
        maxVersion,
        ciphers: 'DEFAULT:@SECLEVEL=0',
      })
      await expect(older).rejects.toThrow(/version|protocol|alert/i)
    }
  })

  it('[D-LIM-01] waits for a handshake no longer than for the header of a request', async () => {
    const { port } = await start({ options: { headersTimeout: 200 } })
    const silent = connectTcp(port, '127.0.0.1')
    silent.resume()
    // Node's own patience is two minutes, longer than that of this test.
    expect(await once(silent, 'close')).toEqual([false])
  })

  it('takes a renewed certificate for new handshakes without a restart, and lets open connections go on', async () => {
    const { port, certificates, files, events } = await start()
    const before = await handshake(port, { ca: certificates.authority })
    const renewed = await makeCertificates(names)
    // As renewal programs do it: the key first, so for a moment the two do not belong together.
    replace(files.privateKeyFile, renewed.server.privateKey)
    replace(files.certificateFile, renewed.server.certificate)
    await until('reload', () => events.includes('certificate_reloaded'))
    const after = await handshake(port, { ca: renewed.authority })
    expect(after.authorized).toBe(true)
    expect(serialNumber(after)).toBe(new X509Certificate(renewed.server.certificate).serialNumber)
    expect(await get(before)).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it.each([
    ['garbage', 'not a certificate'],
    ['an empty file', ''],
  ])('keeps the last good certificate when the file becomes %s', async (_what, text) => {
    const { port, certificates, files, events } = await start()
    replace(files.certificateFile, text)
    await until('refusal', () => events.includes('certificate_refused'))
    const socket = await handshake(port, { ca: certificates.authority })
    expect(serialNumber(socket)).toBe(new X509Certificate(certificates.server.certificate).serialNumber)
    replace(files.certificateFile, certificates.server.certificate)
    await until('reload', () => events.includes('certificate_reloaded'))
  })

  it('keeps the last good certificate when the file disappears', async () => {
    const { port, certificates, files, events } = await start()
    rmSync(files.certificateFile)
    await until('refusal', () => events.includes('certificate_refused'))
    expect((await handshake(port, { ca: certificates.authority })).authorized).toBe(true)
  })

  it('names the file that it cannot read, and a key of another certificate, and shows neither', async () => {
    const files = writeFiles(await makeCertificates(names))
    const other = writeFiles(await makeCertificates(names))
    const garbage = join(files.folder, 'garbage.pem')
    writeFileSync(garbage, 'secret garbage')
    const wrong = [
      { certificateFile: join(files.folder, 'none.pem') },
      { certificateFile: garbage },
      { privateKeyFile: garbage },
      { privateKeyFile: other.privateKeyFile },
    ]
    expect(wrong.flatMap((change) => problemsOf({ ...files, ...change }))).toEqual([
      { path: 'listen.tls.certificate_file', message: 'cannot be used (ENOENT)' },
      { path: 'listen.tls.certificate_file', message: expect.stringMatching(/^cannot be used \([A-Z0-9_]+\)$/) },
      { path: 'listen.tls.private_key_file', message: expect.stringMatching(/^cannot be used \([A-Z0-9_]+\)$/) },
      { path: 'listen.tls.private_key_file', message: 'does not belong to the certificate' },
    ])
  })
})

describe('the demo certificates', () => {
  const folder = mkdtempSync(join(tmpdir(), 'token-handler-certificates-'))
  folders.push(folder)
  const kept = async (wanted: readonly string[]): Promise<X509Certificate> =>
    new X509Certificate(readFileSync((await keepCertificates(folder, wanted)).certificate))

  it('are kept, so that the authority is imported once', async () => {
    expect((await kept(names)).fingerprint256).toBe((await kept(names)).fingerprint256)
  })

  it('are made anew for other names, and when they are damaged', async () => {
    const first = await kept(names)
    const second = await kept(['www.example.localhost', ...names])
    expect(second.fingerprint256).not.toBe(first.fingerprint256)
    expect(second.subjectAltName).toBe('DNS:www.example.localhost, DNS:api.example.localhost')
    writeFileSync(join(folder, 'server.pem'), 'damaged')
    expect((await kept(names)).subjectAltName).toBe('DNS:api.example.localhost')
  })

  it('come without the private key of their authority, so that trusting it gives nobody power', async () => {
    const { authority, server } = await makeCertificates(names)
    const key = createPrivateKey(server.privateKey)
    expect(new X509Certificate(server.certificate).checkPrivateKey(key)).toBe(true)
    expect(new X509Certificate(authority).checkPrivateKey(key)).toBe(false)
    expect(new X509Certificate(authority).ca).toBe(true)
    expect(new X509Certificate(server.certificate).ca).toBe(false)
  })

  it('are not taken from a folder that is only a link to one', async () => {
    const link = join(folder, 'link')
    symlinkSync(folder, link)
    await expect(keepCertificates(link, names)).rejects.toThrow('belongs to somebody else')
  })
})

async function start({
  minimumVersion = 'TLSv1.3',
  options = {},
}: { minimumVersion?: 'TLSv1.2' | 'TLSv1.3'; options?: ServerOptions } = {}): Promise<{
  port: number
  certificates: Certificates
  files: ReturnType<typeof writeCertificates>
  events: string[]
}> {
  const certificates = await makeCertificates(names)
  const files = writeFiles(certificates)
  const events: string[] = []
  const note = (fields: Readonly<Record<string, unknown>>): void => void events.push(String(fields['event']))
  const logger: Logger = { debug: note, info: note, warn: note, error: note }
  const server: Server = createPublicServer(listenWith(files, minimumVersion), { configFile: '', options, logger })
  server.on('request', (_req, res) => res.end('hello'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({ close: () => [server.close(), server.closeAllConnections()] })
  return { port: (server.address() as AddressInfo).port, certificates, files, events }
}

function writeFiles(certificates: Certificates): ReturnType<typeof writeCertificates> {
  const files = writeCertificates(certificates)
  folders.push(files.folder)
  return files
}

function listenWith(
  { certificateFile, privateKeyFile }: { certificateFile: string; privateKeyFile: string },
  minimumVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3',
): Parameters<typeof createPublicServer>[0] {
  return {
    host: '127.0.0.1',
    port: 0,
    tls: { certificate_file: certificateFile, private_key_file: privateKeyFile, minimum_version: minimumVersion },
  }
}

function problemsOf(files: { certificateFile: string; privateKeyFile: string }): ConfigError['problems'] {
  const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
  try {
    createPublicServer(listenWith(files), { configFile: 'token-handler.yaml', options: {}, logger })
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

async function handshake(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', servername: 'api.example.localhost', ...options })
  opened.push({ close: () => socket.destroy() })
  await once(socket, 'secureConnect')
  return socket
}

function serialNumber(socket: TLSSocket): string {
  return socket.getPeerCertificate().serialNumber
}

async function get(socket: TLSSocket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nHost: api.example.localhost\r\n\r\n')
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  return chunk.toString()
}

/** By rename, so that no half-written file is ever read. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}
