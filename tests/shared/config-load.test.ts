import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { stringify } from 'yaml'
import {
  checkConfig,
  configSchema,
  ConfigError,
  exportKeyFile,
  generateKeyFile,
  loadConfig,
  loadKeyFile,
  purposes,
  type Config,
  type KeyFile,
  type LoadOptions,
  type Purpose,
} from '@token-handler/shared'
import { Canaries } from '../support/canary.ts'
import { configured, problemsIn, problemsOf, smallest, withFiles } from './configuration.ts'

const text = stringify(smallest)
const lines = text.split('\n').length - 1

/** Loads a file with the given text; `files` lie beside it. */
function load(yaml: string, env: Record<string, string> = {}, files: Record<string, string> = {}): Config {
  return withFiles({ 'token-handler.yaml': yaml, ...files }, (folder) =>
    loadConfig(join(folder, 'token-handler.yaml'), { env }),
  )
}

const problems = (yaml: string, env?: Record<string, string>, files?: Record<string, string>): string[] =>
  problemsOf(() => load(yaml, env, files))

describe('a configuration file', () => {
  it('needs six values and gets all defaults', () => {
    const config = load(text)
    expect(config).toMatchObject({
      public_url: 'https://app.example',
      listen: { host: '127.0.0.1', port: 3000 },
      cookies: { prefix: 'th', access_token_path: '/api', agent_path: '/oauth-agent', persistent: true },
      session: { absolute_seconds: 43_200, idle_seconds: 3600, access_cookie_seconds: 900 },
      authorization_server: { scope: 'openid profile', timeout_seconds: 45 },
      proxy: { routes: [], trusted_proxies: [] },
    })
    expect(checkConfig(smallest)).toEqual(config)
  })

  it('cannot be changed once it is read, down to the last list', () => {
    const config = load(text)
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
    expect(frozen(config)).toBe(true)
    expect(() => Object.assign(config.cookies, { prefix: 'x' })).toThrow(TypeError)
  })

  it('tells every problem at once, by its path', () => {
    expect(
      problemsIn({
        public_url: 'https://app.example/',
        unknown: 1,
        authorization_server: { issuer: 'as.example', redirect_uri: 5, client_id: undefined, scope: 'profile' },
        session: { idle_seconds: '1h' },
        proxy: { routes: [{ path: 'api', methods: ['FETCH'], upstream: 'http://api/x', claims: { role: [] } }] },
        log: { level: 'loud' },
      }).map((problem) => problem.slice(0, problem.indexOf(':'))),
    ).toEqual([
      'public_url',
      'authorization_server.issuer',
      'authorization_server.client_id',
      'authorization_server.redirect_uri',
      'authorization_server.scope',
      'session.idle_seconds',
      'proxy.routes[0].path',
      'proxy.routes[0].upstream',
      'proxy.routes[0].methods[0]',
      'proxy.routes[0].claims.role',
      'log.level',
      '',
    ])
  })

  it('tells contradictions in the same go as single mistakes', () => {
    expect(
      problemsIn({
        colour: 'red',
        log: { level: 'loud' },
        cookies: { pfad: '/' },
        admin: { port: 3000 },
        authorization_server: { issuer: 'http://as.example' },
      }),
    ).toEqual([
      'cookies: unknown key pfad',
      'log.level: Invalid option: expected one of "debug"|"info"|"warn"|"error"|"silent"',
      ': unknown key colour',
      'authorization_server.issuer: must be https; http is for loopback addresses only',
      'admin.port: must differ from listen.port: the admin listener is never public',
    ])
  })

  it('is summed up in an error that names the file', () => {
    const error = new ConfigError('a.yaml', [
      { path: 'a.b', message: 'is required' },
      { path: '', message: 'unknown key x' },
    ])
    expect(error.message).toBe('a.yaml has 2 problems:\n  a.b: is required\n  (file): unknown key x')
    expect(new ConfigError('a.yaml', [{ path: 'a', message: 'b' }]).message).toBe('a.yaml has 1 problem:\n  a: b')
  })

  it('must be there', () => {
    expect(problemsOf(() => loadConfig('/nowhere/token-handler.yaml', { env: {} }))).toEqual([
      ': cannot be read (ENOENT)',
    ])
  })

  it.each([
    ['', ': expected object, received null'],
    ['- a', ': expected object, received array'],
    ['text', ': expected object, received string'],
    ['a: {', ': line 1, column 5: not valid YAML (BAD_INDENT)'],
    ['a:\n\tb: 1', ': line 2, column 1: not valid YAML (TAB_AS_INDENT)'],
    ['a: 1\na: 2', ': line 2, column 1: not valid YAML (DUPLICATE_KEY)'],
    ['a: 1\n---\nb: 1', ': line 2, column 1: not valid YAML (MULTIPLE_DOCS)'],
    ['a: !!js/function x', ': line 1, column 4: not valid YAML (TAG_RESOLVE_FAILED)'],
    ['a: &x 1\nb: *x', ': line 2, column 4: aliases are not understood'],
    ['a: 1\n__proto__: {}', ': line 2, column 1: a key must be text, and not __proto__'],
    ['? [a, b]\n: 1', ': line 1, column 1: a key must be text, and not __proto__'],
  ])('is refused as %j', (yaml, problem) => {
    expect(problems(yaml)).toEqual([problem])
  })

  it.each(['listen: { port: ${PORT} }', 'a:\n  resource: [${API}]', 'a: { b: http://${HOST}:1 }'])(
    'is refused as %j, with what to do about it',
    (yaml) => {
      const [problem] = problems(yaml)
      expect(problem).toMatch(/: not valid YAML \([A-Z_]+\): within \{ \} and \[ \], \$\{…\} wants quotes around it$/)
    },
  )

  it.each(['connect_timeout_seconds', 'response_timeout_seconds', 'idle_timeout_seconds'])(
    'has no %s for which a timer cannot wait: it would end at once',
    (name) => {
      const route = { path: '/api', upstream: 'http://api.internal', response_timeout_seconds: 2_000_000 }
      const withSeconds = (seconds: number) => ({
        proxy: { routes: [{ ...route, [name]: seconds }] },
      })
      const overflowing = Math.ceil(2 ** 31 / 1000)
      expect(problemsIn(withSeconds(overflowing))).toContain(
        `proxy.routes[0].${name}: Too big: expected number to be <=2000000`,
      )
      expect(problemsIn(withSeconds(2_000_000))).toEqual([])
    },
  )

  it('is refused without a flood of problems where one mistake makes the rest unreadable', () => {
    expect(problems(`a: { b: \${c} }\n${'d: { e: f }\n'.repeat(50)}`).length).toBeLessThanOrEqual(3)
    expect(problems('['.repeat(5000)).length).toBeLessThanOrEqual(3)
    const bomb = `a: &a [x, x]\n${Array.from({ length: 30 }, (_, at) => `b${at}: &b${at} [*${at === 0 ? 'a' : `b${at - 1}`}, *a]`).join('\n')}`
    expect(problems(bomb).length).toBeLessThanOrEqual(3)
  })
})

describe('references', () => {
  const withSecret = (value: string): string =>
    stringify(configured({ authorization_server: { client_authentication: { client_secret: value } } }))
  const secretOf = (config: Config): unknown => {
    const { client_authentication: authentication } = config.authorization_server
    return authentication !== undefined && 'client_secret' in authentication ? authentication.client_secret : undefined
  }
  const path = 'authorization_server.client_authentication.client_secret'

  it('to environment variables are replaced anywhere in a text', () => {
    expect(secretOf(load(withSecret('${SECRET}'), { SECRET: 's' }))).toBe('s')
    expect(secretOf(load(withSecret('a${A}b${B_2}c'), { A: '1', B_2: '2' }))).toBe('a1b2c')
    expect(secretOf(load(withSecret('$SECRET ${} ${1} ${a-b}')))).toBe('$SECRET ${} ${1} ${a-b}')
  })

  it('are numbers and switches where those are wanted and nothing else stands beside them', () => {
    const yaml = stringify(
      configured({
        listen: { port: '${PORT}' },
        cookies: { persistent: '${PERSISTENT}' },
        authorization_server: { client_id: '${CLIENT}' },
      }),
    )
    const config = load(yaml, { PORT: '8080', PERSISTENT: 'false', CLIENT: '12345' })
    expect([config.listen.port, config.cookies.persistent, config.authorization_server.client_id]).toEqual([
      8080,
      false,
      '12345',
    ])
    for (const [PORT, PERSISTENT] of [
      ['0x10', 'yes'],
      ['8e3', '1'],
      ['8080.5', 'TRUE'],
      ['', ' true'],
    ] as const) {
      expect(problems(yaml, { PORT, PERSISTENT, CLIENT: 'x' })).toHaveLength(2)
    }
    const partly = stringify(configured({ listen: { port: '80${PORT}' }, cookies: { persistent: 'true' } }))
    expect(problems(partly, { PORT: '80' })).toHaveLength(2)
  })

  it('are not looked for in what was put in: a value cannot name another variable or a file', () => {
    expect(secretOf(load(withSecret('${A}'), { A: '${B}', B: 'b' }))).toBe('${B}')
    expect(secretOf(load(withSecret('${A}'), { A: 'file:secret.txt' }, { 'secret.txt': 'x' }))).toBe('file:secret.txt')
  })

  it('to files give their text without the last line end; paths count from the configuration', () => {
    expect(secretOf(load(withSecret('file:secret.txt'), {}, { 'secret.txt': 's e c\r\n' }))).toBe('s e c')
    const clientId = (from: string, content: string): string => {
      const yaml = stringify(configured({ authorization_server: { client_id: from } }))
      return load(yaml, { NAME: 'id' }, { 'id.txt': content }).authorization_server.client_id
    }
    expect(clientId('file:./id.txt', 'a\r\nb\r\n')).toBe('a\r\nb')
    expect(clientId('file:${NAME}.txt', 'x\n\n')).toBe('x\n')
  })

  it.each([
    ['${SECRET}', {}, 'the environment variable SECRET is not set'],
    ['${SECRET}', { SECRET: '' }, 'the environment variable SECRET is not set'],
    ['file:secret.txt', {}, 'the file that it names cannot be read (ENOENT)'],
    ['file:.', {}, 'the file that it names cannot be read (EISDIR)'],
  ])('that lead nowhere are one problem each: %s', (value, env, message) => {
    expect(problems(withSecret(value), env)).toEqual([`${path}: ${message}`])
  })

  it('that lead nowhere are told together with other mistakes, and cause no others', () => {
    const yaml = stringify(
      configured({ public_url: '${URL}', log: { level: '${LEVEL}' }, authorization_server: { scope: 'x' } }),
    )
    expect(problems(yaml)).toEqual([
      'public_url: the environment variable URL is not set',
      'log.level: the environment variable LEVEL is not set',
      'authorization_server.scope: must contain openid',
    ])
  })

  it('work in lists', () => {
    const yaml = stringify(configured({ trusted_origins: ['https://${HOST}', 'https://www.${HOST}'] }))
    expect(load(yaml, { HOST: 'app.example' }).trusted_origins).toEqual([
      'https://app.example',
      'https://www.app.example',
    ])
    expect(problems(yaml)[1]).toBe('trusted_origins[1]: the environment variable HOST is not set')
  })

  describe('to secrets that are not used', () => {
    const secrets = {
      authorization_server: {
        client_authentication: { method: 'private_key_jwt', private_key: 'file:key.pem', client_secret: undefined },
      },
      capabilities: [{ name: 'chat', kind: 'jwt', audience: 'https://chat.example', pairwise_secret: '${PAIRWISE}' }],
      capability_signing: { private_key: '${SIGNING}', other_keys: ['file:old.pem'] },
    }
    const gateway = {
      gateway: 'nginx',
      listen: { port: 3002 },
      gateway_secret: '${G}',
      previous_gateway_secret: '${H}',
    }
    const everything = { ...secrets, forward_auth: gateway, admin: { port: 3001, keys: { a: '${A}', 'b-c': '${B}' } } }
    const problemsFor = (only: LoadOptions['only'], changes: Record<string, unknown>): string[] =>
      withFiles({ 'token-handler.yaml': stringify(configured(changes)) }, (folder) =>
        problemsOf(() => loadConfig(join(folder, 'token-handler.yaml'), { only, env: {} })),
      ).map((problem) => problem.replace(/:.*/, ''))

    it('are not followed, so that neither a proxy nor a command needs the secrets of the agent', () => {
      expect(problemsFor('proxy', secrets)).toEqual([])
      expect(problemsFor('command', everything)).toEqual([])
    })

    it('are followed for whoever uses them', () => {
      const ofAgent = [
        'authorization_server.client_authentication.private_key',
        'capabilities[0].pairwise_secret',
        'capability_signing.private_key',
        'capability_signing.other_keys[0]',
      ]
      const line =
        stringify(configured(everything))
          .split('\n')
          .findIndex((shown) => shown.includes('b-c')) + 1
      const ofAdmin = ['admin.keys.a', `admin.keys.(not shown, line ${line})`]
      const ofGateway = ['forward_auth.gateway_secret', 'forward_auth.previous_gateway_secret']
      expect(problemsFor('agent', everything).toSorted()).toEqual([...ofAgent, ...ofAdmin].toSorted())
      expect(problemsFor('proxy', everything).toSorted()).toEqual([...ofAdmin, ...ofGateway].toSorted())
      expect(problemsFor(undefined, everything).toSorted()).toEqual([...ofAgent, ...ofAdmin, ...ofGateway].toSorted())
      expect(problemsFor('command', { ledger: { type: 'redis', url: '${REDIS_URL}' } })).toEqual(['ledger.url'])
    })

    it('give nothing away, though they lead somewhere', () => {
      const config = withFiles({ 'token-handler.yaml': withSecret('${SECRET}') }, (folder) =>
        loadConfig(join(folder, 'token-handler.yaml'), { only: 'proxy', env: { SECRET: 's3cret' } }),
      )
      expect(JSON.stringify(config)).not.toContain('s3cret')
    })
  })

  it('to an empty file are an empty value, and that is refused', () => {
    expect(problems(withSecret('file:secret.txt'), {}, { 'secret.txt': '\n' })).toEqual([`${path}: must not be empty`])
  })
})

/** Every place in the configuration that a value can stand in. */
function* places(schema: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  const { properties, items, anyOf, oneOf } = schema as Record<string, Record<string, unknown> | unknown[] | undefined>
  if (path.length > 0) yield path
  for (const [name, inner] of Object.entries(properties ?? {})) yield* places(inner, [...path, name])
  if (items !== undefined) yield* places(items, [...path, '0'])
  for (const option of [...((anyOf as unknown[] | undefined) ?? []), ...((oneOf as unknown[] | undefined) ?? [])]) {
    yield* places(option, path)
  }
}

describe('a refused configuration', () => {
  it('[E-KM-08] [D-OPS-02] [D-OPS-03] never shows a value, whichever place it stands in', () => {
    const canaries = new Canaries()
    const secret = canaries.mark('value')
    const all = [
      ...new Set(
        [...places(configSchema.toJSONSchema({ io: 'input', unrepresentable: 'any' }))].map((path) => path.join('.')),
      ),
    ]
    expect(all.length).toBeGreaterThan(80)
    let refused = 0
    for (const place of all) {
      for (const value of [
        secret,
        [secret],
        { [secret]: secret },
        { a: { b: secret } },
        `https://u:${secret}@x.example/`,
        `/${secret}/?`,
      ]) {
        const values: unknown = place
          .split('.')
          .reduceRight<unknown>((inner, name) => (name === '0' ? [inner] : { [name]: inner }), value)
        const found = problemsIn(values as Record<string, unknown>)
        if (found.length > 0) refused++
        expect(canaries.find(found)).toEqual([])
      }
    }
    expect(refused).toBeGreaterThan(all.length * 2)
  })

  it('[E-KM-08] shows no secret that slipped into the place of a name', () => {
    expect(problems(`${text}client_authentication: {client_secret:s3cret}\n`)).toEqual([
      ': unknown key client_authentication',
    ])
    expect(problemsIn({ authorization_server: { client_authentication: { 'client_secret:s3cret': null } } })).toEqual([
      'authorization_server.client_authentication: unknown key (not shown)',
    ])
  })

  it('[E-KM-08] tells the line of a name that it does not show', () => {
    const admin = `admin:\n  port: 3001\n  idle-seconds: 5\n  keys:\n    on-call: short\n    s3cret: ${'x'.repeat(32)}\n`
    expect(problems(`${text}${admin}utf8: ''\n`)).toEqual([
      expect.stringMatching(`^admin\\.keys\\.\\(not shown, line ${lines + 5}\\): must be at least 32 characters`),
      `admin: unknown key (not shown, line ${lines + 3})`,
      `: unknown key (not shown, line ${lines + 7})`,
    ])
  })

  it('[E-KM-08] shows nothing of a file that was not readable as YAML', () => {
    const canaries = new Canaries()
    const secret = canaries.mark('value')
    for (const yaml of [
      `a: {${secret}`,
      `"${secret}`,
      `a: *${secret}`,
      `a: !${secret} b`,
      `? [${secret}]\n: 1`,
      `%${secret}\n---\na: 1`,
    ]) {
      const found = problems(yaml)
      expect(found.length).toBeGreaterThan(0)
      expect(canaries.find(found)).toEqual([])
    }
  })
})

describe('a key file on disk', () => {
  it('[E-KM-07] is refused where a key lacks a purpose that is needed', () => {
    const master = generateKeyFile(new Date())
    const exported = exportKeyFile(master, ['access-token'], { issuer: 'https://as.example', clientId: 'spa' })
    const found = (file: KeyFile, needed: readonly Purpose[]): string[] =>
      withFiles({ 'keys.json': JSON.stringify(file) }, (folder) =>
        problemsOf(() => loadKeyFile(join(folder, 'keys.json'), needed)),
      )
    expect(found(master, purposes)).toEqual([])
    expect(found(exported, ['access-token'])).toEqual([])
    expect(found(exported, purposes)).toEqual([
      'keys[0].derived: lacks refresh-token, id-token, login, logout, audit, which is needed here',
    ])
    const retired = {
      keys: [...master.keys, ...exported.keys.map((key) => ({ ...key, kid: 'old', state: 'retired' as const }))],
    }
    expect(found(retired, purposes)).toEqual([])
  })

  const loadKeys = (content: string): string[] =>
    withFiles({ 'keys.json': content }, (folder) => problemsOf(() => loadKeyFile(join(folder, 'keys.json'))))

  it('[E-KM-08] is refused without a word of what is in it', () => {
    expect(problemsOf(() => loadKeyFile('/nowhere/keys.json'))).toEqual([': cannot be read (ENOENT)'])
    expect(loadKeys('s3cret')).toEqual([': is not JSON; make one with `token-handler keys generate`'])
    expect(loadKeys('[]')).toEqual([': expected object, received array'])
    expect(loadKeys('{"keys":[{"kid":"a","state":"active","key":"s3cret"}]}')).toEqual([
      'keys[0].key: must be 32 random bytes as base64url; make one with `token-handler keys generate`',
    ])
  })
})
