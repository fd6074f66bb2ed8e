import { describe, expect, it } from '@jest/globals'
import { problemsIn } from './configuration.ts'

const secret = 'a-gateway-secret-of-more-than-32-characters'
const given = (changes: Readonly<Record<string, unknown>>, listen: Readonly<Record<string, unknown>> = {}) => ({
  forward_auth: { gateway: 'nginx', gateway_secret: secret, ...changes, listen: { port: 3002, ...listen } },
})

describe('forward_auth', () => {
  it('is right with a gateway, a port and a secret', () => {
    expect(problemsIn(given({}))).toEqual([])
    expect(problemsIn(given({ peers: ['10.0.0.0/8'] }, { host: '0.0.0.0' }))).toEqual([])
  })

  it('never shares a port', () => {
    expect(problemsIn(given({}, { port: 3000 }))).toEqual([
      'forward_auth.listen.port: must differ from listen.port: this listener answers with tokens and is never public',
    ])
    expect(problemsIn({ ...given({}), admin: { port: 3002 } })).toEqual([
      'forward_auth.listen.port: must differ from admin.port',
    ])
  })

  it.each(['0.0.0.0', '::', '192.0.2.1'])('does not listen on %s unless its gateways are named', (host) => {
    const problem =
      'forward_auth.peers: must name the gateways where listen.host is not an address of this machine alone'
    expect(problemsIn(given({}, { host }))).toEqual([problem])
    expect(problemsIn(given({ peers: ['127.0.0.1'] }, { host }))).toEqual([problem])
  })

  it.each(['0.0.0.0/0', '::/0'])('takes no network of everybody: %s', (peer) => {
    expect(problemsIn(given({ peers: [peer] }))).toEqual(['forward_auth.peers[0]: names everybody'])
  })

  it('has no default for the secret, and takes no short one', () => {
    expect(problemsIn(given({ gateway_secret: undefined }))).toEqual([
      'forward_auth.gateway_secret: is required unless listen.tls.client_ca_file asks for client certificates',
    ])
    expect(problemsIn(given({ gateway_secret: 'short' }))[0]).toContain('must be at least 32 characters')
    expect(problemsIn(given({ gateway_secret: `${secret}\n` }))[0]).toContain('visible ASCII')
  })

  it('needs no secret where client certificates are asked for', () => {
    const tls = { certificate_file: 'c.pem', private_key_file: 'k.pem', client_ca_file: 'ca.pem' }
    expect(problemsIn(given({ gateway_secret: undefined }, { tls }))).toEqual([])
  })

  it('is not an API of the proxy', () => {
    const proxy = { routes: [{ path: '/api', upstream: 'http://127.0.0.1:3002' }] }
    expect(problemsIn({ ...given({}), proxy })).toEqual(['proxy.routes[0].upstream: points at this server itself'])
  })
})
