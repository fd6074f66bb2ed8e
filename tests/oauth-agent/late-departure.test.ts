import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { createMemoryLedger } from '@token-handler/shared'
import { boundedFetch } from '../../oauth-agent/src/bounded-fetch.ts'
import { fakeClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { faultyLedger } from './faulty-ledger.ts'
import { startScripted, type Scripted } from './scripted.ts'

describe('a call with a condition that counts when there is a connection', () => {
  let server: Server
  let received = ''
  let closed = 0
  const call = (mayLeave: () => boolean) => {
    const { port } = server.address() as AddressInfo
    return boundedFetch(`http://127.0.0.1:${port}/token`, { method: 'POST', body: 'refresh_token=canary', mayLeave })
  }
  beforeEach(async () => {
    received = ''
    closed = 0
    server = createServer((socket) => {
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1')
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
      })
      socket.on('error', () => {})
      socket.on('close', () => closed++)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(async () => {
    server.close()
    await once(server, 'close')
  })

  it('leaves where it may', async () => {
    expect((await call(() => true)).text).toBe('ok')
    expect(received).toMatch(/^POST \/token [^]*refresh_token=canary$/)
  })

  it('does not where it may not: no byte of it is written', async () => {
    await expect(call(() => false)).rejects.toMatchObject({ name: 'UnansweredError', isUnsent: true })
    await until('the connection ends', () => closed === 1)
    expect(received).toBe('')
  })
})

describe('an agent that is stopped between its last look at the ledger and the first byte of a refresh', () => {
  let scripted: Scripted
  afterEach(() => scripted.close())

  it('does not send it, for another may hold the lease by then, and says that nothing was processed', async () => {
    const staged = fakeClock()
    /** Looks at the clock until the process is stopped; what comes after that is six seconds later. */
    let looks = Infinity
    const clock = { ...staged, monotonic: () => staged.monotonic() + (looks-- > 0 ? 0 : 6000) }
    const inner = createMemoryLedger(clock)
    const { ledger, replaced } = faultyLedger(inner)
    replaced.holds = async (...about) => {
      const held = await inner.holds(...about)
      // The one that is left is whether the lease is fresh.
      looks = 1
      return held
    }
    scripted = await startScripted({ clock, ledger })
    const browser = await scripted.loggedIn()
    // An early refresh that fails would be no error.
    clock.advanceSeconds(301)
    const refused = await browser.post('refresh')
    expect([refused.status, refused.json['error_code']]).toEqual([503, 'refresh_pending'])
    expect(scripted.server.count('token', 'refresh_token')).toBe(0)

    delete replaced.holds
    looks = Infinity
    expect((await browser.post('refresh')).status).toBe(200)
    expect(scripted.server.count('token', 'refresh_token')).toBe(1)
    expect(scripted.agent.events()).not.toContain('refresh_in_doubt')
  })
})
