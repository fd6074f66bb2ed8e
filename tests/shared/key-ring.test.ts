import { describe, expect, it } from '@jest/globals'
import {
  buildKeyRing,
  createCookieSealer,
  exportKeyFile,
  generateKeyFile,
  keyFileSchema,
  purposes,
  type KeyFile,
} from '@token-handler/shared'
import { client, createSealing, sealerFor, tokenOf } from './sealing.ts'

type KeyState = KeyFile['keys'][number]['state']

const kidOf = (keyFile: KeyFile): string => keyFile.keys[0]?.kid ?? ''
const keyTextOf = (keyFile: KeyFile): string => keyFile.keys[0]?.key ?? ''

/** The keys of several files in one, each in the given state. */
function merged(...parts: readonly (readonly [KeyFile, KeyState])[]): KeyFile {
  return { keys: parts.flatMap(([file, state]) => file.keys.map((entry) => ({ ...entry, state }))) }
}

const kidIn = (value: string): unknown =>
  (JSON.parse(Buffer.from(value.split('.')[0] ?? '', 'base64url').toString()) as { kid: unknown }).kid

function problems(file: unknown): string[] {
  const parsed = keyFileSchema.safeParse(file)
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
}

describe('the key ring', () => {
  it('[E-KM-01] seals with the active key and opens what an open-only key sealed', () => {
    const before = createSealing()
    const value = before.sealer.seal('access-token', tokenOf(before))
    const next = generateKeyFile(new Date())
    const [older, newer] = [[before.keyFile, 'open-only'] as const, [next, 'active'] as const]
    for (const file of [merged(older, newer), merged(newer, older)]) {
      const after = sealerFor(file, before.clock)
      expect(after.open('access-token', value).ok).toBe(true)
      for (const purpose of purposes) expect(kidIn(after.seal(purpose, tokenOf(before)))).toBe(kidOf(next))
    }
  })

  it('[E-KM-01] opens nothing with a retired key', () => {
    const before = createSealing()
    const value = before.sealer.seal('access-token', tokenOf(before))
    const next = generateKeyFile(new Date())
    const after = sealerFor(merged([before.keyFile, 'retired'], [next, 'active']), before.clock)
    expect(after.open('access-token', value)).toEqual({ ok: false, reason: 'unknown_key' })
    expect(buildKeyRing(merged([before.keyFile, 'retired'], [next, 'active']), client).kids).toEqual([kidOf(next)])
  })

  it('[E-KM-01] [E-KM-02] takes effect in a running sealer, for opening and for sealing', () => {
    const before = createSealing()
    const next = generateKeyFile(new Date())
    let ring = buildKeyRing(before.keyFile, client)
    const sealer = createCookieSealer(() => ring, before.clock)
    const value = sealer.seal('access-token', tokenOf(before))
    expect(sealer.open('access-token', value).ok).toBe(true)

    ring = buildKeyRing(merged([before.keyFile, 'open-only'], [next, 'active']), client)
    expect(sealer.open('access-token', value).ok).toBe(true)
    expect(kidIn(sealer.seal('access-token', tokenOf(before)))).toBe(kidOf(next))

    ring = buildKeyRing(merged([before.keyFile, 'retired'], [next, 'active']), client)
    expect(sealer.open('access-token', value)).toEqual({ ok: false, reason: 'unknown_key' })
  })

  it('[E-KM-01] does not go on with a remembered key when another key takes over its id', () => {
    const before = createSealing()
    const impostor: KeyFile = {
      keys: generateKeyFile(new Date()).keys.map((entry) => ({ ...entry, kid: before.kid })),
    }
    let ring = buildKeyRing(before.keyFile, client)
    const sealer = createCookieSealer(() => ring, before.clock)
    const value = sealer.seal('access-token', tokenOf(before))
    expect(sealer.open('access-token', value).ok).toBe(true)
    ring = buildKeyRing(impostor, client)
    expect(sealer.open('access-token', value)).toEqual({ ok: false, reason: 'damaged' })
  })

  it('keeps its keys out of what a log or an error could show of it', () => {
    const { keyFile } = createSealing()
    const ring = buildKeyRing(keyFile, client)
    const shown = JSON.stringify([ring, ring.sealingKey('login'), ring.openingKey('login', kidOf(keyFile))])
    expect(shown).not.toContain(keyTextOf(keyFile))
    expect(shown).toContain(kidOf(keyFile))
  })
})

describe('an exported key file', () => {
  it('[E-KM-07] opens access tokens and nothing else', () => {
    const agent = createSealing()
    const proxy = sealerFor(exportKeyFile(agent.keyFile, ['access-token'], client), agent.clock)
    for (const purpose of purposes) {
      const opened = proxy.open(purpose, agent.sealer.seal(purpose, tokenOf(agent)))
      expect([purpose, opened.ok]).toEqual([purpose, purpose === 'access-token'])
    }
  })

  it('[E-KM-07] holds neither the master key nor the key of another purpose', () => {
    const agent = createSealing()
    const text = JSON.stringify(exportKeyFile(agent.keyFile, ['access-token'], client))
    expect(text).toContain(agent.keyOf('access-token').toString('base64url'))
    expect(text).not.toContain(keyTextOf(agent.keyFile))
    for (const purpose of purposes.filter((other) => other !== 'access-token')) {
      expect(text).not.toContain(agent.keyOf(purpose).toString('base64url'))
    }
  })

  it('cannot seal for a purpose that it lacks', () => {
    const agent = createSealing()
    const proxy = sealerFor(exportKeyFile(agent.keyFile, ['access-token'], client), agent.clock)
    expect(() => proxy.seal('refresh-token', tokenOf(agent))).toThrow('no active key for the purpose refresh-token')
  })

  it('keeps states, leaves out retired keys, and is a right key file itself', () => {
    const [old, retired, active] = [0, 1, 2].map(() => generateKeyFile(new Date()))
    if (old === undefined || retired === undefined || active === undefined) throw new Error('three were made')
    const exported = exportKeyFile(
      merged([old, 'open-only'], [retired, 'retired'], [active, 'active']),
      ['access-token'],
      client,
    )
    expect(exported.keys.map(({ kid, state }) => [kid, state])).toEqual([
      [kidOf(old), 'open-only'],
      [kidOf(active), 'active'],
    ])
    expect(keyFileSchema.parse(JSON.parse(JSON.stringify(exported)))).toEqual(exported)
  })

  it('can be exported again, but not for more than it has', () => {
    const agent = createSealing()
    const once = exportKeyFile(agent.keyFile, ['access-token', 'login'], client)
    expect(exportKeyFile(once, ['access-token'], client)).toEqual(
      exportKeyFile(agent.keyFile, ['access-token'], client),
    )
    const more = exportKeyFile(once, ['refresh-token'], client)
    expect(more.keys.map(({ derived }) => derived)).toEqual([{}])
  })
})

describe('a key file', () => {
  const good = generateKeyFile(new Date())
  const [entry] = good.keys
  const withKey = (key: unknown): unknown => ({ keys: [{ ...entry, key }] })

  it('as generated is right, and different each time', () => {
    const files = Array.from({ length: 50 }, () => generateKeyFile(new Date()))
    expect(files.flatMap(problems)).toEqual([])
    expect(new Set(files.map(keyTextOf)).size).toBe(50)
    expect(new Set(files.map(kidOf)).size).toBe(50)
    expect(Buffer.from(keyTextOf(good), 'base64url')).toHaveLength(32)
  })

  it('as generated has an id that no command line takes for an option', () => {
    const kids = Array.from({ length: 500 }, () => kidOf(generateKeyFile(new Date())))
    expect(kids.filter((kid) => !/^\w[\w-]{7}$/.test(kid))).toEqual([])
  })

  it.each([
    ['too short', Buffer.alloc(31, 7).toString('base64url')],
    ['too long', Buffer.from(Array.from({ length: 33 }, (_, at) => at)).toString('base64url')],
    ['all zero', Buffer.alloc(32).toString('base64url')],
    ['one byte repeated', Buffer.alloc(32, 0xa5).toString('base64url')],
    ['a short pattern repeated', Buffer.from('abcdefgh'.repeat(4)).toString('base64url')],
    ['hexadecimal', Buffer.from(Array.from({ length: 32 }, (_, at) => at)).toString('hex')],
    ['base64 with padding', `${keyTextOf(good)}=`],
    ['a passphrase', 'correct horse battery staple correct horse!'],
    ['empty', ''],
  ])('[E-KM-04] [F-CU-3] is refused when a key is %s', (_, key) => {
    expect(problems(withKey(key))).toEqual([
      'keys.0.key: must be 32 random bytes as base64url; make one with `token-handler keys generate`',
    ])
  })

  it('[E-KM-04] is refused when a key is no text, missing, or there twice over', () => {
    expect(problems(withKey(1))).toEqual(['keys.0.key: Invalid input: expected string, received number'])
    expect(problems(withKey(undefined))).toEqual(['keys.0: needs either "key" or "derived"'])
    expect(problems({ keys: [{ ...entry, derived: { login: keyTextOf(generateKeyFile(new Date())) } }] })).toEqual([
      'keys.0: needs either "key" or "derived"',
    ])
  })

  it('is refused without exactly one active key', () => {
    const other = generateKeyFile(new Date())
    expect(problems(merged([good, 'active'], [other, 'active']))).toEqual([
      'keys: exactly one key must be active, not 2',
    ])
    expect(problems(merged([good, 'open-only']))).toEqual(['keys: exactly one key must be active, not 0'])
    expect(problems({ keys: [] })).not.toEqual([])
  })

  it('[E-KM-03] is refused when a key id or a secret is used twice', () => {
    const other = generateKeyFile(new Date())
    const sameId = {
      keys: [{ ...entry }, ...merged([other, 'open-only']).keys.map((key) => ({ ...key, kid: kidOf(good) }))],
    }
    expect(problems(sameId)).toEqual(['keys.1.kid: is used twice'])
    const sameSecret = {
      keys: [{ ...entry }, ...merged([other, 'open-only']).keys.map((key) => ({ ...key, key: keyTextOf(good) }))],
    }
    expect(problems(sameSecret)).toEqual(['keys.1: repeats the secret of another key'])
  })

  it.each(['', 'x'.repeat(17), 'a b', 'a/b', 'é', '../x', 'a.b'])('is refused for the key id %j', (kid) => {
    expect(problems({ keys: [{ ...entry, kid }] })).toEqual([
      'keys.0.kid: must be 1 to 16 characters of A-Z a-z 0-9 _ -',
    ])
  })

  it('is refused with names that it does not know', () => {
    expect(problems({ ...good, comment: 'x' })).toHaveLength(1)
    expect(problems({ keys: [{ ...entry, note: 'x' }] })).toHaveLength(1)
    expect(problems({ keys: [{ ...entry, key: undefined, derived: { other: keyTextOf(good) } }] })).toHaveLength(1)
    expect(problems({ keys: [{ ...entry, state: 'sleeping' }] })).toHaveLength(1)
  })

  it('[E-KM-08] is never quoted in what is said about it', () => {
    const secret = Buffer.from('abcdefgh'.repeat(4)).toString('base64url')
    const said = problems({ keys: [{ ...entry, key: secret, state: secret, kid: secret, created: secret }] })
    expect(said).toHaveLength(4)
    expect(said.join()).not.toContain(secret)
  })
})
