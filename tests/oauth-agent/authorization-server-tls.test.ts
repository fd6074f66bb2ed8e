import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect, getCACertificates, setDefaultCACertificates, type SecureContextOptions } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import { makeCertificates } from '../support/certificates.ts'
import { startAgent } from './running-agent.ts'

const authorities = getCACertificates('default')
afterEach(() => setDefaultCACertificates(authorities))

/** Starts a login at a server whose certificate is for `name`: what the SPA is told, and how often the server was asked. */
async function startLogin(
  name: string,
  isTrusted: boolean,
  { madeAt, ...tls }: SecureContextOptions & { madeAt?: Date } = {},
): Promise<{ status: number; asked: number; log: string }> {
  const { authority, server } = await makeCertificates([name], 'serverAuth', madeAt)
  if (isTrusted) setDefaultCACertificates([...authorities, authority])
  let asked = 0
  const authorizationServer = createServer(
    { cert: server.certificate, key: server.privateKey, ...tls },
    (_req, res) => {
      asked += 1
      res.writeHead(404).end()
    },
  )
  authorizationServer.listen(0, '127.0.0.1')
  await once(authorizationServer, 'listening')
  const agent = await startAgent({
    issuer: `https://localhost:${(authorizationServer.address() as AddressInfo).port}`,
    clientId: 'client',
    clientAuthentication: { method: 'client_secret_basic', clientSecret: 'secret' },
  })
  try {
    await isReachedBy((authorizationServer.address() as AddressInfo).port, tls)
    const { status } = await agent.browser().post('login/start')
    return { status, asked, log: agent.log() }
  } finally {
    await agent.close()
    authorizationServer.close()
    authorizationServer.closeAllConnections()
  }
}

/** The server can be talked to by who asks for no more than it offers. */
async function isReachedBy(port: number, offered: SecureContextOptions): Promise<void> {
  const socket = connect({ ...offered, port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  socket.destroy()
}

describe('an authorization server over TLS', () => {
  it.each<[string, SecureContextOptions]>([
    ['old TLS', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' }],
    ['ciphers that hide nothing', { maxVersion: 'TLSv1.2', ciphers: 'eNULL:@SECLEVEL=0' }],
    ['ciphers without a certificate', { maxVersion: 'TLSv1.2', ciphers: 'aNULL:!eNULL:@SECLEVEL=0' }],
  ])('[C-99] that offers only %s is not asked', async (_what, offered) => {
    const { log, ...told } = await startLogin('localhost', true, offered)
    expect(told).toEqual({ status: 502, asked: 0 })
    expect(log).toMatch(/ERR_SSL_|EPROTO|alert/)
  })

  it('[B-FA-05] that shows a certificate of nobody known is not asked', async () => {
    expect(await startLogin('localhost', false)).toMatchObject({ status: 502, asked: 0 })
  })

  it('[B-FA-05] that shows the certificate of another host is not asked', async () => {
    const { log, ...told } = await startLogin('other.example', true)
    expect(told).toEqual({ status: 502, asked: 0 })
    expect(log).toContain('ERR_TLS_CERT_ALTNAME_INVALID')
  })

  it('[B-FA-05] that shows an expired certificate is not asked', async () => {
    const { log, ...told } = await startLogin('localhost', true, { madeAt: new Date('2020-01-01') })
    expect(told).toEqual({ status: 502, asked: 0 })
    expect(log).toContain('CERT_HAS_EXPIRED')
  })

  it('control: one that shows its own is asked', async () => {
    expect(await startLogin('localhost', true)).toMatchObject({ status: 502, asked: 1 })
  })

  it('control: one that offers no more than TLS 1.2 is asked', async () => {
    expect(await startLogin('localhost', true, { maxVersion: 'TLSv1.2' })).toMatchObject({ status: 502, asked: 1 })
  })
})
