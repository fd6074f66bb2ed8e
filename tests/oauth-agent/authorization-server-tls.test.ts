import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import { makeCertificates } from '../support/certificates.ts'
import { startAgent } from './running-agent.ts'

const authorities = getCACertificates('default')
afterEach(() => setDefaultCACertificates(authorities))

/** Starts a login at a server whose certificate is for `name`: what the SPA is told, and how often the server was asked. */
async function startLogin(name: string, isTrusted: boolean): Promise<{ status: number; asked: number; log: string }> {
  const { authority, server } = await makeCertificates([name])
  if (isTrusted) setDefaultCACertificates([...authorities, authority])
  let asked = 0
  const authorizationServer = createServer({ cert: server.certificate, key: server.privateKey }, (_req, res) => {
    asked += 1
    res.writeHead(404).end()
  })
  authorizationServer.listen(0, '127.0.0.1')
  await once(authorizationServer, 'listening')
  const agent = await startAgent({
    issuer: `https://localhost:${(authorizationServer.address() as AddressInfo).port}`,
    clientId: 'client',
    clientAuthentication: { method: 'client_secret_basic', clientSecret: 'secret' },
  })
  try {
    const { status } = await agent.browser().post('login/start')
    return { status, asked, log: agent.log() }
  } finally {
    await agent.close()
    authorizationServer.close()
    authorizationServer.closeAllConnections()
  }
}

describe('an authorization server over TLS', () => {
  it('[B-FA-05] that shows a certificate of nobody known is not asked', async () => {
    expect(await startLogin('localhost', false)).toMatchObject({ status: 502, asked: 0 })
  })

  it('[B-FA-05] that shows the certificate of another host is not asked', async () => {
    const { log, ...told } = await startLogin('other.example', true)
    expect(told).toEqual({ status: 502, asked: 0 })
    expect(log).toContain('ERR_TLS_CERT_ALTNAME_INVALID')
  })

  it('control: one that shows its own is asked', async () => {
    expect(await startLogin('localhost', true)).toMatchObject({ status: 502, asked: 1 })
  })
})
