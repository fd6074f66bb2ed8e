import { getDomain } from 'tldts'
import { checkBroker } from './broker-consistency.ts'
import { checkForwardAuth } from './forward-auth-consistency.ts'
import type { ConfigProblem } from './load.ts'
import { privateKeyProblem } from './private-key.ts'
import type { ConfigReader } from './references.ts'
import {
  isAuthorizationParameterValue,
  reservedAuthorizationParameters,
  reservedRefreshParameters,
} from './reserved-parameters.ts'
import type { Config } from './schema.ts'

/** What a schema can't see: values that are fine alone and contradict each other, or that a browser would drop. */
export function findContradictions(config: Config, only: ConfigReader | undefined): ConfigProblem[] {
  return [
    ...checkOrigins(config),
    ...checkAuthorizationServer(config, only),
    ...checkParameters(config),
    ...checkFixedParameters(config),
    ...checkPaths(config),
    ...checkRoutes(config),
    ...checkTimes(config),
    ...checkTokens(config, only),
    ...checkListeners(config),
    ...checkForwardAuth(config),
    ...checkSpa(config),
    ...checkBroker(config, isSecure),
  ]
}

/** Settings that somebody gave and nothing looks at, found in the values before any default is among them. */
export function findIdleSettings(values: unknown): ConfigProblem[] {
  const { audit } = values as { readonly audit?: Readonly<Record<string, unknown>> | null }
  const { sink = 'stdout' } = audit ?? {}
  if (sink !== 'stdout' && sink !== 'off') return []
  return ['folder', 'retention_days'].flatMap((name) =>
    audit?.[name] === undefined ? [] : [{ path: `audit.${name}`, message: 'does nothing unless audit.sink is files' }],
  )
}

function checkTokens({ tokens, ledger }: Config, only: ConfigReader | undefined): ConfigProblem[] {
  if (tokens === 'cookie' || ledger.type === 'sqlite' || ledger.type === 'redis') return []
  if (ledger.type === 'memory' && only !== 'agent' && only !== 'proxy') return []
  return [{ path: 'tokens', message: `needs a ledger that agent and proxy share: ledger.type ${ledger.type} is none` }]
}

const overHttps = 'must be https; http is for loopback addresses only'

function checkOrigins({ public_url, trusted_origins }: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (!isSecure(public_url)) problems.push({ path: 'public_url', message: overHttps })
  trusted_origins?.forEach((origin, index) => {
    const path = `trusted_origins[${index}]`
    if (!isSecure(origin)) problems.push({ path, message: overHttps })
    else if (site(origin) !== site(public_url)) {
      problems.push({ path, message: 'is not same-site with public_url, so browsers would send it no Strict cookie' })
    }
  })
  return problems
}

function checkAuthorizationServer(config: Config, only: ConfigReader | undefined): ConfigProblem[] {
  const { authorization_server: server, public_url, trusted_origins = [public_url], cookies } = config
  const problems: ConfigProblem[] = []
  const at = (key: string, message: string) => problems.push({ path: `authorization_server.${key}`, message })
  if (!isSecure(server.issuer)) at('issuer', overHttps)
  if (new URL(server.issuer).pathname.includes('/.well-known/')) {
    at('issuer', 'must be the issuer itself, not the address of its metadata, which is found from it')
  }
  if (/[?#]/.test(server.issuer)) at('issuer', 'must have no query and no fragment')
  if (hasCredentials(server.issuer)) at('issuer', 'must have no user name and no password')
  if (only !== 'proxy' && only !== 'command' && server.client_authentication === undefined) {
    at('client_authentication', 'is required where the agent runs')
  }
  const { client_authentication: authentication } = server
  if (authentication?.method === 'private_key_jwt') {
    const problem = privateKeyProblem(authentication.private_key, authentication.algorithm)
    if (problem !== undefined) at('client_authentication.private_key', problem)
  }
  for (const key of ['redirect_uri', 'post_logout_redirect_uri'] as const) {
    const uri = server[key]
    if (uri === undefined) continue
    if (!trusted_origins.includes(new URL(uri).origin)) at(key, 'must be a page of the SPA, under a trusted origin')
    if (uri.includes('#')) at(key, 'must have no fragment')
    if (
      cookies.agent_path !== '/' &&
      new URL(uri).origin === public_url &&
      isUnder(new URL(uri).pathname, cookies.agent_path)
    ) {
      at(key, 'must be a page of the SPA, not a path of the agent: the SPA posts its query to the agent')
    }
    if (new URL(uri).origin === public_url && needsSession(new URL(uri).pathname, config)) {
      at(key, 'must be a page of the SPA, not a path of the proxy that wants a session: nobody has one there')
    }
  }
  return problems
}

function checkParameters({ agent }: Config): ConfigProblem[] {
  const lists = [
    ['authorization_parameters', reservedAuthorizationParameters],
    ['refresh_parameters', reservedRefreshParameters],
  ] as const
  return lists.flatMap(([key, reserved]) =>
    agent[key].flatMap((name, index) =>
      reserved.has(name)
        ? [{ path: `agent.${key}[${index}]`, message: 'is set by the agent alone, and cannot be left to the SPA' }]
        : [],
    ),
  )
}

function checkFixedParameters({ authorization_server: server }: Config): ConfigProblem[] {
  return Object.entries(server.authorization_parameters).flatMap(([name, value]) => {
    const path = `authorization_server.authorization_parameters.${name}`
    if (name === 'scope' || reservedAuthorizationParameters.has(name)) {
      const byWhom = Object.hasOwn(server, name) ? `by authorization_server.${name}` : 'by the agent alone'
      return [{ path, message: `is set ${byWhom}` }]
    }
    return isAuthorizationParameterValue(name, value) ? [] : [{ path, message: 'is malformed or too long' }]
  })
}

function checkPaths({ cookies }: Config): ConfigProblem[] {
  if (cookies.agent_path === '/') {
    return [{ path: 'cookies.agent_path', message: 'must be a path below /, so that API calls carry no refresh token' }]
  }
  if (isUnder(cookies.agent_path, cookies.access_token_path) && cookies.access_token_path !== '/') {
    return [{ path: 'cookies.agent_path', message: 'must not lie under cookies.access_token_path' }]
  }
  if (isUnder(cookies.access_token_path, cookies.agent_path)) {
    return [{ path: 'cookies.access_token_path', message: 'must not lie under cookies.agent_path' }]
  }
  return []
}

function checkRoutes(config: Config): ConfigProblem[] {
  const { proxy, cookies, spa } = config
  const problems: ConfigProblem[] = []
  const seen = new Set<string>()
  proxy.routes.forEach((route, index) => {
    const at = (key: string, message: string) => problems.push({ path: `proxy.routes[${index}].${key}`, message })
    if (seen.has(route.path)) at('path', 'is the path of an earlier route')
    seen.add(route.path)
    if (isUnder(route.path, cookies.agent_path)) at('path', 'lies under cookies.agent_path, which the agent serves')
    if (route.session === 'required' && !isUnder(route.path, cookies.access_token_path)) {
      at('path', 'must lie under cookies.access_token_path, or the browser sends it no access cookie')
    }
    if (spa !== undefined && pagesOf(config).some((page) => isUnder(page, route.path))) {
      at('path', 'takes pages of the SPA (spa): / or that of authorization_server.redirect_uri')
    }
    if (pointsAtUs(route.upstream, config)) at('upstream', 'points at this server itself')
    const conditions = [...route.scopes, ...route.roles, ...route.acr_values, ...Object.keys(route.claims)]
    if (route.session === 'none' && (conditions.length > 0 || route.max_age !== undefined)) {
      at('session', 'none contradicts scopes, roles, claims, acr_values and max_age')
    }
    if (route.websocket && !route.methods.includes('GET')) at('websocket', 'needs the method GET, which is not allowed')
    if (route.upstream_tls !== undefined && !route.upstream.startsWith('https:')) {
      at('upstream_tls', 'contradicts upstream, which is not https')
    }
    const { certificate_file: certificate, private_key_file: key } = route.upstream_tls ?? {}
    if ((certificate === undefined) !== (key === undefined)) {
      at('upstream_tls', 'takes certificate_file and private_key_file together')
    }
    if (route.connect_timeout_seconds > route.response_timeout_seconds) {
      at('connect_timeout_seconds', 'is longer than response_timeout_seconds')
    }
  })
  return problems
}

/** Whether the proxy answers a path, and refuses whoever is not logged in. A gateway takes the SPA's paths out of `/`. */
function needsSession(path: string, { proxy, cookies: { access_token_path: apiPath } }: Config): boolean {
  const routes = proxy.routes.filter((route) => route.path !== '/' && isUnder(path, route.path))
  const [longest] = routes.toSorted((a, b) => b.path.length - a.path.length)
  return longest === undefined ? apiPath !== '/' && isUnder(path, apiPath) : longest.session === 'required'
}

/** Without these there is no SPA, where we serve it. */
function pagesOf({ authorization_server: { redirect_uri }, public_url }: Config): readonly string[] {
  const { origin, pathname } = new URL(redirect_uri)
  return origin === public_url ? ['/', pathname] : ['/']
}

function checkTimes({ session, authorization_server }: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const at = (path: string, message: string) => problems.push({ path, message })
  if (session.idle_seconds < 2 * session.access_cookie_seconds) {
    at(
      'session.idle_seconds',
      'must be at least twice session.access_cookie_seconds, for it acts when a token is refreshed',
    )
  }
  if (session.absolute_seconds < session.idle_seconds) {
    at('session.absolute_seconds', 'must not be shorter than session.idle_seconds')
  }
  if (authorization_server.timeout_seconds >= session.idle_seconds) {
    at('authorization_server.timeout_seconds', 'must be shorter than session.idle_seconds')
  }
  return problems
}

function checkListeners({ listen, admin, public_url }: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (admin !== undefined && admin.port !== 0 && admin.port === listen.port) {
    problems.push({ path: 'admin.port', message: 'must differ from listen.port: the admin listener is never public' })
  }
  const holders = Object.entries(admin?.keys ?? {})
  holders.forEach(([name, key], index) => {
    if (holders.findIndex(([, other]) => other === key) === index) return
    problems.push({ path: `admin.keys.${name}`, message: 'is the key of somebody else, too' })
  })
  if (listen.tls !== undefined && new URL(public_url).protocol !== 'https:') {
    problems.push({ path: 'listen.tls', message: 'contradicts public_url, which is not https' })
  }
  return problems
}

function checkSpa(config: Config): ConfigProblem[] {
  const { spa } = config
  if (spa === undefined || 'root' in spa) return []
  const path = 'spa.dev_server'
  const { hostname } = new URL(spa.dev_server)
  if (!isLoopback(hostname)) return [{ path, message: 'must be on this machine: what it sends runs in the SPA' }]
  return pointsAtUs(spa.dev_server, config) ? [{ path, message: 'points at this server itself' }] : []
}

/** Whether a URL leads to the public address or to one of our own listeners, under any name of this machine. */
function pointsAtUs(url: string, { public_url, listen, admin, forward_auth }: Config): boolean {
  const target = new URL(url)
  if (target.host === new URL(public_url).host) return true
  const listeners = [listen, admin, forward_auth?.listen].filter((listener) => listener !== undefined)
  return listeners.some(({ host, port }) => {
    if (portOf(target) !== port) return false
    const own = host.includes(':') ? `[${host}]` : host
    return target.hostname === own || (isLoopback(target.hostname) && (isLoopback(own) || anyAddress.has(own)))
  })
}

const anyAddress: ReadonlySet<string> = new Set(['0.0.0.0', '[::]'])

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}

function hasCredentials(url: string): boolean {
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

/** Whether `path` is `parent` or below it, on whole segments. */
function isUnder(path: string, parent: string): boolean {
  return parent === '/' || path === parent || path.startsWith(`${parent}/`)
}

function isSecure(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || isLoopback(hostname)
}

/** Names and addresses that never leave the machine (RFC 6761 section 6.3; RFC 1122 section 3.2.1.3). */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d+){3}$/.test(hostname)
  )
}

/** Scheme and registrable domain (HTML standard, "same site"); hosts without one stand for themselves. */
function site(origin: string): string {
  const { protocol, hostname } = new URL(origin)
  return `${protocol}//${getDomain(hostname, { allowPrivateDomains: true }) ?? hostname}`
}
