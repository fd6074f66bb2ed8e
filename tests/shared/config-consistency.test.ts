import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { isLoopback } from '@token-handler/shared'
import { problemsIn } from './configuration.ts'

const overHttps = 'must be https; http is for loopback addresses only'
const route = (changes: Record<string, unknown> = {}): Record<string, unknown> => ({
  path: '/api/orders',
  upstream: 'http://orders.internal:8080',
  ...changes,
})
/** Problems of one route, without the start of their paths. */
const routeProblems = (changes: Record<string, unknown>, rest: Record<string, unknown> = {}): string[] =>
  problemsIn({ ...rest, proxy: { routes: [route(changes)] } }).map((problem) => problem.replace('proxy.routes[0].', ''))

describe('a configuration is refused when', () => {
  it.each([
    ['http://app.example', [`public_url: ${overHttps}`]],
    [
      'https://app.example/',
      ['public_url: must be an origin: scheme, host and optional port in lower case, without path or trailing slash'],
    ],
    [
      'https://APP.example',
      ['public_url: must be an origin: scheme, host and optional port in lower case, without path or trailing slash'],
    ],
    [
      'https://app.example:443',
      ['public_url: must be an origin: scheme, host and optional port in lower case, without path or trailing slash'],
    ],
    ['https://*.example', ['public_url: must be an absolute http or https URL']],
    ['*', ['public_url: must be an absolute http or https URL']],
    ['null', ['public_url: must be an absolute http or https URL']],
    ['app.example', ['public_url: must be an absolute http or https URL']],
    ['ftp://app.example', ['public_url: must be an absolute http or https URL']],
  ])('[D-OPS-02] [D-CK-03] the public URL is %s', (url, expected) => {
    const found = problemsIn({ public_url: url, trusted_origins: ['https://app.example'] })
    expect(found.filter((problem) => problem.startsWith('public_url')).slice(0, 1)).toEqual(expected)
  })

  it.each([
    ['http://www.app.example', overHttps],
    ['https://app.example.evil.test', 'is not same-site with public_url, so browsers would send it no Strict cookie'],
    ['https://example', 'is not same-site with public_url, so browsers would send it no Strict cookie'],
    ['http://localhost:3000', 'is not same-site with public_url, so browsers would send it no Strict cookie'],
  ])('[A-16] the SPA is at %s', (origin, message) => {
    expect(problemsIn({ trusted_origins: ['https://app.example', origin] })).toEqual([`trusted_origins[1]: ${message}`])
  })

  it.each([
    ['https://shop.example', 'https://api.shop.example', true],
    ['https://a.b.shop.co.uk', 'https://c.shop.co.uk:8443', true],
    ['https://a.co.uk', 'https://b.co.uk', false],
    ['https://alice.github.io', 'https://bob.github.io', false],
    ['https://www.example.localhost:3000', 'https://api.example.localhost:3443', true],
    ['http://localhost:3000', 'http://localhost:8080', true],
    ['http://a.localhost', 'http://b.localhost', false],
    ['http://localhost:3000', 'http://127.0.0.1:3000', false],
    ['http://127.0.0.1:3000', 'http://127.0.0.1:8080', true],
    ['http://localhost:3000', 'https://localhost:3000', false],
    ['https://192.0.2.1', 'https://192.0.2.2', false],
  ])('[D-OPS-02] %s and %s are one site: %p', (spa, url, isSame) => {
    const server = { redirect_uri: `${spa}/callback` }
    const found = problemsIn({ public_url: url, trusted_origins: [spa], authorization_server: server })
    expect(found).toEqual(
      isSame
        ? []
        : ['trusted_origins[0]: is not same-site with public_url, so browsers would send it no Strict cookie'],
    )
  })

  it('[B-ISS-06] the issuer is not safe to talk to', () => {
    const issuer = (value: string): string[] => problemsIn({ authorization_server: { issuer: value } })
    expect(issuer('http://as.example')).toEqual([`authorization_server.issuer: ${overHttps}`])
    expect(issuer('http://10.0.0.1:3100')).toEqual([`authorization_server.issuer: ${overHttps}`])
    expect(issuer('http://127.0.0.1:3100')).toEqual([])
    expect(issuer('https://as.example?x')).toEqual(['authorization_server.issuer: must have no query and no fragment'])
    expect(issuer('https://as.example#x')).toEqual(['authorization_server.issuer: must have no query and no fragment'])
    expect(issuer('https://user:password@as.example')).toEqual([
      'authorization_server.issuer: must have no user name and no password',
    ])
  })

  it('[A-01] the agent would run without credentials', () => {
    const none = { authorization_server: { client_authentication: undefined } }
    const problem = 'authorization_server.client_authentication: is required where the agent runs'
    expect(problemsIn(none)).toEqual([problem])
    expect(problemsIn(none, 'agent')).toEqual([problem])
    expect(problemsIn(none, 'proxy')).toEqual([])
  })

  it('[D-OPS-02] the SPA is left a parameter that the agent sets', () => {
    const agent = {
      authorization_parameters: ['audience', 'resource', 'scope', 'redirect_uri'],
      refresh_parameters: ['scope', 'refresh_token'],
    }
    const problem = 'is set by the agent alone, and cannot be left to the SPA'
    expect(problemsIn({ agent })).toEqual([
      `agent.authorization_parameters[1]: ${problem}`,
      `agent.authorization_parameters[3]: ${problem}`,
      `agent.refresh_parameters[1]: ${problem}`,
    ])
  })

  it('[D-OPS-02] every authorization request would say what the agent says itself, or what nobody understands', () => {
    const problemsWith = (parameters: Record<string, unknown>): string[] =>
      problemsIn({ authorization_server: { authorization_parameters: parameters } }).map((problem) =>
        problem.replace('authorization_server.authorization_parameters', ''),
      )
    expect(problemsWith({ audience: 'https://api.example', prompt: 'login', max_age: '3600' })).toEqual([])
    expect(problemsWith({ 'no name': 'x' })).toEqual(['.(not shown): Invalid key in record'])
    expect(problemsWith({ resource: 'x', scope: 'openid', state: 'x', acr_values: '"', max_age: '-1' })).toEqual([
      '.resource: is set by authorization_server.resource',
      '.scope: is set by authorization_server.scope',
      '.state: is set by the agent alone',
      '.acr_values: is malformed or too long',
      '.max_age: is malformed or too long',
    ])
  })

  describe('[D-OPS-02] the private key', () => {
    type Kind =
      readonly ['ec', { namedCurve: string }] | readonly ['rsa', { modulusLength: number }] | readonly ['ed25519']
    const privateKeyOf = (kind: Kind): KeyObject =>
      kind[0] === 'ec'
        ? generateKeyPairSync(...kind).privateKey
        : kind[0] === 'rsa'
          ? generateKeyPairSync(...kind).privateKey
          : generateKeyPairSync('ed25519').privateKey
    const pem = (...kind: Kind): string => privateKeyOf(kind).export({ type: 'pkcs8', format: 'pem' })
    const jwk = (...kind: Kind): string => JSON.stringify(privateKeyOf(kind).export({ format: 'jwk' }))
    const p256 = { namedCurve: 'P-256' }
    const found = (privateKey: string, algorithm: string): string[] =>
      problemsIn({
        authorization_server: {
          client_authentication: {
            client_secret: undefined,
            method: 'private_key_jwt',
            private_key: privateKey,
            algorithm,
          },
        },
      })
    const path = 'authorization_server.client_authentication.private_key'
    const noKey = `${path}: must be a private key: a JWK as JSON, or PKCS#8 PEM`

    it.each([
      ['ES256', ['ec', p256]],
      ['ES384', ['ec', { namedCurve: 'P-384' }]],
      ['EdDSA', ['ed25519']],
      ['Ed25519', ['ed25519']],
      ['PS256', ['rsa', { modulusLength: 2048 }]],
      ['RS256', ['rsa', { modulusLength: 2048 }]],
    ] as const)('fits %s', (algorithm, kind) => {
      expect(found(pem(...kind), algorithm)).toEqual([])
      expect(found(jwk(...kind), algorithm)).toEqual([])
    })

    it('is of another kind than the algorithm wants, or too small', () => {
      expect(found(pem('ec', p256), 'ES384')).toEqual([`${path}: is no key for ES384`])
      expect(found(pem('ec', p256), 'RS256')).toEqual([`${path}: is no key for RS256`])
      expect(found(jwk('ed25519'), 'ES256')).toEqual([`${path}: is no key for ES256`])
      expect(found(pem('rsa', { modulusLength: 2048 }), 'EdDSA')).toEqual([`${path}: is no key for EdDSA`])
      expect(found(pem('rsa', { modulusLength: 1024 }), 'PS256')).toEqual([`${path}: must have at least 2048 bits`])
    })

    it('is none', () => {
      const { publicKey } = generateKeyPairSync('ec', p256)
      const publicJwk = JSON.stringify(publicKey.export({ format: 'jwk' }))
      const publicPem = publicKey.export({ type: 'spki', format: 'pem' })
      const cut = pem('ec', p256).slice(0, 100)
      for (const text of ['garbage', '{}', '{', publicJwk, publicPem, cut, '-----BEGIN PRIVATE KEY-----']) {
        expect(found(text, 'ES256')).toEqual([noKey])
      }
    })
  })

  it('[E-CK-03] clocks may be more than a minute apart', () => {
    const at = (seconds: number): string[] => problemsIn({ authorization_server: { clock_skew_seconds: seconds } })
    expect([at(0), at(60)]).toEqual([[], []])
    expect([at(61), at(-1)]).toEqual([
      [expect.stringContaining('authorization_server.clock_skew_seconds: ')],
      [expect.stringContaining('authorization_server.clock_skew_seconds: ')],
    ])
  })

  it('[G-1] the authorization response would be a form, which strict cookies do not come with', () => {
    expect(problemsIn({ authorization_server: { response_mode: 'form_post' } })).toEqual([
      expect.stringContaining('authorization_server.response_mode: '),
    ])
  })

  it('[B-TK-01] [D-OR-04] a redirect would leave the SPA', () => {
    for (const key of ['redirect_uri', 'post_logout_redirect_uri']) {
      const at = (uri: string): string[] => problemsIn({ authorization_server: { [key]: uri } })
      const path = `authorization_server.${key}`
      expect(at('https://evil.example/callback')).toEqual([
        `${path}: must be a page of the SPA, under a trusted origin`,
      ])
      expect(at('http://app.example/callback')).toEqual([`${path}: must be a page of the SPA, under a trusted origin`])
      expect(at('https://app.example/callback#x')).toEqual([`${path}: must have no fragment`])
      expect(at('https://app.example/oauth-agent/login/end')).toEqual([
        `${path}: must be a page of the SPA, not a path of the agent: the SPA posts its query to the agent`,
      ])
      expect(at('https://app.example/callback')).toEqual([])
    }
  })

  it('a redirect would lead to where the proxy wants a session', () => {
    const found = (uri: string, routes: readonly Record<string, unknown>[], path = '/api'): string[] =>
      problemsIn({
        authorization_server: { redirect_uri: uri },
        cookies: { access_token_path: path },
        proxy: { routes: routes.map(route) },
      }).map((problem) => problem.replace(/(?<=session): .*/, ''))
    const refused = [
      'authorization_server.redirect_uri: must be a page of the SPA, not a path of the proxy that wants a session',
    ]
    const page = 'https://app.example/api/callback'
    expect(found(page, [{ path: '/api' }])).toEqual(refused)
    expect(found(page, [])).toEqual(refused)
    expect(found(page, [{ path: '/api' }, { path: '/api/callback', session: 'none' }])).toEqual([])
    expect(found('https://app.example/callback', [{ path: '/callback' }], '/')).toEqual(refused)
    // A gateway may take the page out.
    expect(found('https://app.example/callback', [{ path: '/' }], '/')).toEqual([])
  })

  it('the issuer is the address of its metadata', () => {
    const message = 'must be the issuer itself, not the address of its metadata, which is found from it'
    for (const name of ['openid-configuration', 'oauth-authorization-server/tenant']) {
      const issuer = `https://as.example/.well-known/${name}`
      expect(problemsIn({ authorization_server: { issuer } })).toEqual([`authorization_server.issuer: ${message}`])
    }
  })

  it.each(['\n', '\r\n', ' '])('a secret ends with %j, as what `echo` wrote', (end) => {
    const message = 'must have no line end, and no space before or after it'
    const secret = `${'x'.repeat(32)}${end}`
    expect(
      problemsIn({
        authorization_server: { client_authentication: { client_secret: secret } },
        admin: { port: 3001, keys: { carol: secret } },
      }),
    ).toEqual([`admin.keys.carol: ${message}`, `authorization_server.client_authentication.client_secret: ${message}`])
  })

  it.each([
    [{ agent_path: '/' }, ['cookies.agent_path: must be a path below /, so that API calls carry no refresh token']],
    [{ agent_path: '/api/agent' }, ['cookies.agent_path: must not lie under cookies.access_token_path']],
    [{ agent_path: '/api' }, ['cookies.agent_path: must not lie under cookies.access_token_path']],
    [{ access_token_path: '/oauth-agent/api' }, ['cookies.access_token_path: must not lie under cookies.agent_path']],
    [{ access_token_path: '/' }, []],
    [{ access_token_path: '/oauth-agents' }, []],
  ])('[D-CK-03] [D-CK-10] cookies would go where they must not: %j', (cookies, expected) => {
    expect(problemsIn({ cookies })).toEqual(expected)
  })

  it.each([
    'api',
    '/api/',
    '//api',
    '/a//b',
    '/api?x',
    '/api#x',
    '/a b',
    '/%61',
    '/é',
    '',
    '/..',
    '/a/../b',
    '/.',
    '/a/.',
    '/a;b',
    '/a\\b',
  ])('[D-CK-03] [D-PATH-14] a path is %j', (path) => {
    const message =
      'must be a path such as /api: it starts with a slash and has no trailing slash, dot segment, query or escape'
    expect(problemsIn({ cookies: { access_token_path: path } })).toEqual([`cookies.access_token_path: ${message}`])
    expect(routeProblems({ path })).toEqual([`path: ${message}`])
    expect(routeProblems({ upstream_path: path })).toEqual([`upstream_path: ${message}`])
  })

  it.each(['', 'a b', 'a-b', 'a;', '__Host-', 'é', 'x'.repeat(17), 'a='])(
    '[D-CK-03] [F-RO-6] the cookie prefix is %j',
    (prefix) => {
      expect(problemsIn({ cookies: { prefix } })).toEqual(['cookies.prefix: must be 1 to 16 letters or digits'])
    },
  )

  it('a route would shadow or never be reached', () => {
    const routes = [route(), route({ path: '/api/items' }), route()]
    expect(problemsIn({ proxy: { routes } })).toEqual(['proxy.routes[2].path: is the path of an earlier route'])
    expect(routeProblems({ path: '/oauth-agent/x' })).toEqual([
      'path: lies under cookies.agent_path, which the agent serves',
      'path: must lie under cookies.access_token_path, or the browser sends it no access cookie',
    ])
    expect(routeProblems({ path: '/apis' })).toEqual([
      'path: must lie under cookies.access_token_path, or the browser sends it no access cookie',
    ])
    expect(routeProblems({ path: '/public', session: 'none' })).toEqual([])
  })

  it.each([
    'https://app.example',
    'https://app.example:443/',
    'http://127.0.0.1:3000',
    'http://localhost:3000',
    'http://[::1]:3000',
    'http://127.1.2.3:3001',
    'http://gateway.localhost:3001',
  ])('[D-SSRF-04] a route leads back to us: %s', (upstream) => {
    expect(routeProblems({ upstream }, { admin: { port: 3001 } })).toEqual(['upstream: points at this server itself'])
  })

  it.each([
    ['0.0.0.0', 'http://localhost:3000', true],
    ['::', 'http://127.0.0.1:3000', true],
    ['10.0.0.5', 'http://10.0.0.5:3000', true],
    ['fd00::1', 'http://[fd00::1]:3000', true],
    ['10.0.0.5', 'http://localhost:3000', false],
    ['127.0.0.1', 'http://localhost:3002', false],
    ['127.0.0.1', 'http://orders.internal:3000', false],
  ])('[D-SSRF-04] listening on %s, a route leads to %s: %p', (host, upstream, isUs) => {
    expect(routeProblems({ upstream }, { listen: { host } })).toEqual(
      isUs ? ['upstream: points at this server itself'] : [],
    )
  })

  it.each([
    'http://user:password@h',
    'http://:password@h',
    'http://h/path',
    'http://h?x',
    'http://h#x',
    'ftp://h',
    'h',
    'http://*',
    'file:///etc/passwd',
  ])('[D-SSRF-04] an upstream is %s', (upstream) => {
    expect(routeProblems({ upstream })).not.toEqual([])
  })

  it('a route without a session asks something of it', () => {
    for (const condition of [{ scopes: ['a'] }, { claims: { role: ['a'] } }, { acr_values: ['a'] }, { max_age: 60 }]) {
      expect(routeProblems({ session: 'none', ...condition })).toEqual([
        'session: none contradicts scopes, roles, claims, acr_values and max_age',
      ])
      expect(routeProblems(condition)).toEqual([])
    }
  })

  it('times contradict each other', () => {
    expect(routeProblems({ connect_timeout_seconds: 61 })).toEqual([
      'connect_timeout_seconds: is longer than response_timeout_seconds',
    ])
    expect(problemsIn({ session: { idle_seconds: 1799 } })).toEqual([
      'session.idle_seconds: must be at least twice session.access_cookie_seconds, for it acts when a token is refreshed',
    ])
    expect(problemsIn({ session: { absolute_seconds: 3599 } })).toEqual([
      'session.absolute_seconds: must not be shorter than session.idle_seconds',
    ])
    expect(
      problemsIn({
        session: { idle_seconds: 60, access_cookie_seconds: 30 },
        authorization_server: { timeout_seconds: 60 },
      }),
    ).toEqual(['authorization_server.timeout_seconds: must be shorter than session.idle_seconds'])
  })

  it('listeners contradict each other', () => {
    expect(problemsIn({ listen: { port: 3001 }, admin: { port: 3001 } })).toEqual([
      'admin.port: must differ from listen.port: the admin listener is never public',
    ])
    expect(problemsIn({ listen: { port: 0 }, admin: { port: 0 } })).toEqual([])
    expect(
      problemsIn({
        public_url: 'http://localhost:3000',
        authorization_server: { redirect_uri: 'http://localhost:3000/callback' },
        listen: { tls: { certificate_file: 'a', private_key_file: 'b' } },
      }),
    ).toEqual(['listen.tls: contradicts public_url, which is not https'])
  })

  it('a route takes the pages of the SPA that is served', () => {
    const message = 'takes pages of the SPA (spa): / or that of authorization_server.redirect_uri'
    const found = (path: string, spa: unknown): string[] =>
      problemsIn({ spa, proxy: { routes: [route({ path, session: 'none' })] } })
    for (const spa of [{ root: 'dist' }, { dev_server: 'http://localhost:5173' }]) {
      expect(found('/', spa)).toEqual([`proxy.routes[0].path: ${message}`])
      expect(found('/callback', spa)).toEqual([`proxy.routes[0].path: ${message}`])
      expect(found('/call', spa)).toEqual([])
    }
    expect(found('/', undefined)).toEqual([])
  })

  it('the development server of the SPA is elsewhere, or this server itself', () => {
    expect(problemsIn({ spa: { dev_server: 'http://vite.example:5173' } })).toEqual([
      'spa.dev_server: must be on this machine: what it sends runs in the SPA',
    ])
    expect(problemsIn({ spa: { dev_server: 'http://localhost:3000' } })).toEqual([
      'spa.dev_server: points at this server itself',
    ])
    expect(problemsIn({ spa: { dev_server: 'http://localhost:5173' } })).toEqual([])
  })

  it.each([
    'https://storage.example.com/',
    'https://storage.example.com/bucket',
    'https://*.example.com',
    'https:',
    '*',
    "'unsafe-inline'",
    'https://a.example; script-src *',
    'ftp://storage.example.com',
    'wss://Feeds.example.com',
    'wss://feeds.example.com/x',
  ])('%s is no origin to connect to', (text) => {
    expect(problemsIn({ spa: { root: 'dist', connect_origins: [text] } }).join()).toContain('spa')
  })

  it.each(['https://storage.example.com', 'http://127.0.0.1:3300', 'wss://feeds.example.com:8443', 'ws://localhost:1'])(
    '%s is one',
    (text) => {
      expect(problemsIn({ spa: { root: 'dist', connect_origins: [text] } })).toEqual([])
    },
  )

  it('[D-OPS-02] several of these are true at once: all are told', () => {
    expect(
      problemsIn({
        public_url: 'http://app.example',
        authorization_server: { issuer: 'http://as.example', redirect_uri: 'https://evil.example/' },
        cookies: { agent_path: '/' },
        admin: { port: 3000 },
        session: { idle_seconds: 60 },
        proxy: { routes: [route({ path: '/x', upstream: 'http://localhost:3000' })] },
      }).map((problem) => problem.slice(0, problem.indexOf(':'))),
    ).toEqual([
      'public_url',
      'authorization_server.issuer',
      'authorization_server.redirect_uri',
      'cookies.agent_path',
      'proxy.routes[0].path',
      'proxy.routes[0].path',
      'proxy.routes[0].upstream',
      'session.idle_seconds',
      'admin.port',
    ])
  })
})

describe('a loopback address', () => {
  it('is one that never leaves the machine, and nothing that looks like it', () => {
    for (const host of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]'])
      expect(isLoopback(host)).toBe(true)
    for (const host of [
      'localhost.example',
      'notlocalhost',
      '127.0.0.1.example',
      '128.0.0.1',
      '0.0.0.0',
      '[::2]',
      '127.0.0',
      '',
    ])
      expect(isLoopback(host)).toBe(false)
  })
})

describe('settings of the audit log', () => {
  const message = 'does nothing unless audit.sink is files'
  it('that are for files are refused without them, for they promise what is not done', () => {
    for (const audit of [{}, { sink: 'stdout' }, { sink: 'off' }]) {
      expect(problemsIn({ audit: { ...audit, folder: './audit', retention_days: 400 } })).toEqual([
        `audit.folder: ${message}`,
        `audit.retention_days: ${message}`,
      ])
    }
    expect(problemsIn({ audit: { retention_days: 90 } })).toEqual([`audit.retention_days: ${message}`])
  })

  it('are right with files, by default, and where nobody knows the sink', () => {
    expect(problemsIn({ audit: { sink: 'files', folder: './records', retention_days: 400 } })).toEqual([])
    expect(problemsIn({ audit: {} })).toEqual([])
    expect(problemsIn({ audit: { sink: 'fiels', folder: './records' } })).toEqual([
      expect.stringMatching(/^audit\.sink: /),
    ])
    expect(problemsIn({ audit: 'files' })).toEqual([expect.stringMatching(/^audit: /)])
  })
})

describe('a claim of the ID token that no page may see', () => {
  it.each(['nonce', 'at_hash', 'sid'])('%s is neither shown nor sent along at logout', (name) => {
    const agent = { id_token_claims: ['sub', name], logout: { logout_hint_claim: name } }
    const refusal = 'is a claim that no page may see, as are nonce, at_hash, c_hash, s_hash, sid'
    expect(problemsIn({ agent })).toEqual([
      `agent.id_token_claims[1]: ${refusal}`,
      `agent.logout.logout_hint_claim: ${refusal}`,
    ])
  })
})
