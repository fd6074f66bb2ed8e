import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from '@jest/globals'
import {
  createContextBinding,
  type ContextBinding,
  type ContextOptions,
  type ReceivedRequest,
} from '@token-handler/shared'

const options: ContextOptions = { network: 'deny', client: 'report', prefixLengths: { ipv4: 24, ipv6: 56 } }
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:149.0) Gecko/20100101 Firefox/149.0'

const from = (address: string, agent = firefox): IncomingMessage =>
  ({ headers: { 'user-agent': agent }, address }) as unknown as IncomingMessage

function bind(changes: Partial<ContextOptions> = {}): ContextBinding {
  const peers = { clientAddressOf: (req: ReceivedRequest) => (req as unknown as { address: string }).address }
  const binding = createContextBinding({ ...options, ...changes }, peers)
  if (binding === undefined) throw new Error('off')
  return binding
}

describe('a context binding', () => {
  it('is none where everything is off', () => {
    const peers = { clientAddressOf: () => '' }
    expect(createContextBinding({ ...options, network: 'off', client: 'off' }, peers)).toBeUndefined()
  })

  it('lets the network and the client of the login pass', () => {
    const binding = bind()
    const facts = binding.factsOf(from('203.0.113.7'))
    expect(facts).toEqual({ n: '203.0.113.0/24', c: 'linux desktop firefox' })
    expect(binding.judge(facts, 'a', from('203.0.113.99', firefox.replace('149', '155')))).toBeUndefined()
  })

  it('denies or reports what differs, each by its policy', () => {
    const binding = bind()
    const facts = binding.factsOf(from('203.0.113.7'))
    expect(binding.judge(facts, 'a', from('198.51.100.7'))).toEqual({
      reason: 'network',
      expected: '203.0.113.0/24',
      seen: '198.51.100.0/24',
      isDenied: true,
      isNew: true,
    })
    expect(binding.judge(facts, 'a', from('203.0.113.8', 'curl/8'))).toEqual({
      reason: 'client',
      expected: 'linux desktop firefox',
      seen: 'other desktop other',
      isDenied: false,
      isNew: true,
    })
    expect(binding.judge(facts, 'a', from('2001:db8::1', 'curl/8'))).toMatchObject({
      reason: 'network_and_client',
      isDenied: true,
    })
  })

  it('looks at nothing that is off', () => {
    const binding = bind({ client: 'off' })
    const facts = binding.factsOf(from('203.0.113.7'))
    expect(facts).toEqual({ n: '203.0.113.0/24' })
    expect(binding.judge({ ...facts, c: 'linux desktop firefox' }, 'a', from('203.0.113.8', 'curl/8'))).toBeUndefined()
  })

  it('is new once a session and place, and does not grow without end', () => {
    const binding = bind()
    const facts = binding.factsOf(from('203.0.113.7'))
    const isNew = (sid: string, address: string): boolean | undefined => binding.judge(facts, sid, from(address))?.isNew
    expect([isNew('a', '198.51.100.1'), isNew('a', '198.51.100.2'), isNew('b', '198.51.100.1')]).toEqual([
      true,
      false,
      true,
    ])
    expect([isNew('a', '192.0.2.1'), isNew('a', '198.51.100.1')]).toEqual([true, false])
    for (let count = 0; count < 10_000; count++) isNew(`sid ${count}`, '198.51.100.1')
    expect(isNew('a', '198.51.100.1')).toBe(true)
  })

  it('accepts cookies from before it, and those that were bound by other lengths', () => {
    const binding = bind()
    const elsewhere = from('198.51.100.7', 'curl/8')
    expect(binding.judge(undefined, 'a', elsewhere)).toBeUndefined()
    expect(binding.judge({}, 'a', elsewhere)).toBeUndefined()
    expect(binding.judge({ n: '203.0.0.0/16' }, 'a', elsewhere)).toBeUndefined()
    expect(binding.judge({ n: '2001:db8::/48' }, 'a', elsewhere)).toBeUndefined()
    expect(binding.judge({ n: '2001:db8::/56' }, 'a', elsewhere)).toMatchObject({ reason: 'network' })
  })

  it('does not judge by an address that is not known', () => {
    const binding = bind()
    expect(binding.factsOf(from(''))).toEqual({ c: 'linux desktop firefox' })
    expect(binding.judge(binding.factsOf(from('203.0.113.7')), 'a', from(''))).toBeUndefined()
  })
})
