import type { Answer, Received } from './scripted-server.ts'

const SID = '__Host-Http-th-sid'
const ACCESS = '__Secure-th-at-x'
const REFRESH = '__Secure-th-rt-x'
const LOGIN = '__Host-Http-th-login-x'

/** The wire contract of agent and proxy, with cookies as the real ones have them, and times as the test sets them. */
export function createAgentScript(authorizationServer: string): {
  /** The times that the session answer says; those left are counted down from the login or refresh, or from now. */
  times: Record<string, number>
  claims: Record<string, unknown>
  /** The access token of every earlier refresh is over. */
  expireAccessToken(): void
  /** The session is over, whatever the cookies say. */
  endSession(): void
  /** `login/end` answers well, but the browser gets no cookies. */
  withholdCookies: boolean
  /** How often a refresh was done. */
  readonly refreshes: number
  answer(request: Received): Answer | undefined
} {
  let generation = 0
  let oldestLiving = 0
  let ended = false
  let refreshes = 0
  let countingSince = performance.now()
  let times: Record<string, number> = {
    access_token_expires_in: 300,
    access_token_lifetime: 300,
    session_expires_in: 43_200,
    idle_expires_in: 3600,
  }

  const sessionCookies = (): string[] => [
    `${SID}=s; Path=/; HttpOnly; Secure; SameSite=Strict`,
    `${ACCESS}=${generation}; Path=/api; HttpOnly; Secure; SameSite=Strict`,
    `${REFRESH}=${generation}; Path=/oauth-agent; HttpOnly; Secure; SameSite=Strict`,
  ]
  const clearing = (): string[] =>
    [`${SID}=; Path=/`, `${ACCESS}=; Path=/api`, `${REFRESH}=; Path=/oauth-agent`].map(
      (empty) => `${empty}; HttpOnly; Secure; SameSite=Strict; Max-Age=0`,
    )
  const sessionAnswer = (): Record<string, unknown> => ({
    is_logged_in: true,
    id_token_claims: script.claims,
    ...timesLeft(),
  })
  const timesLeft = (): Record<string, number> => {
    const elapsed = (performance.now() - countingSince) / 1000
    const left = ([name, seconds]: [string, number]): [string, number] =>
      name.endsWith('_expires_in') ? [name, Math.max(0, Math.floor(seconds - elapsed))] : [name, seconds]
    return Object.fromEntries(Object.entries(times).map(left))
  }

  const agent: Record<string, (request: Received) => Answer> = {
    'POST login/start': () => {
      const url = new URL('/authorize', authorizationServer)
      url.searchParams.set('state', 'state-1')
      return json(200, { authorization_url: url.href }, [`${LOGIN}=1; Path=/; HttpOnly; Secure; SameSite=Strict`])
    },
    'POST login/end': (request) => {
      const params = new URLSearchParams(request.body.toString())
      const error = params.get('error')
      if (error !== null) return json(400, { error_code: error, detailed_error: 'as the authorization server said' })
      if (cookie(request, LOGIN) === undefined) return json(400, { error_code: 'unknown_state' })
      ended = false
      generation += 1
      oldestLiving = generation
      countingSince = performance.now()
      const gone = `${LOGIN}=; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=0`
      return json(200, sessionAnswer(), script.withholdCookies ? [gone] : [...sessionCookies(), gone])
    },
    'GET session': (request) =>
      ended || cookie(request, REFRESH) === undefined
        ? json(200, { is_logged_in: false })
        : json(200, { ...sessionAnswer(), ...(isExpired(request, REFRESH) ? { access_token_expires_in: 0 } : {}) }),
    'POST refresh': (request) => {
      if (ended || cookie(request, REFRESH) === undefined) {
        return json(401, { error_code: 'session_expired' }, clearing())
      }
      refreshes += 1
      generation += 1
      countingSince = performance.now()
      return json(200, timesLeft(), sessionCookies())
    },
    'POST logout': () => {
      ended = true
      return json(200, {}, clearing())
    },
  }
  const isExpired = (request: Received, name: string): boolean => Number(cookie(request, name)) < oldestLiving

  const api = (request: Received): Answer => {
    if (cookie(request, SID) === undefined) return json(401, { code: 'session_missing', message: 'Log in.' })
    if (ended) return json(401, { code: 'session_ended', message: 'Log in again.' })
    if (cookie(request, ACCESS) === undefined || isExpired(request, ACCESS)) {
      return json(401, { code: 'access_token_expired', message: 'Refresh, then repeat the request.' })
    }
    return json(200, {
      method: request.method,
      type: request.headers['content-type'],
      body: request.body.toString('base64'),
      generation: cookie(request, ACCESS),
    })
  }

  const script = {
    get times() {
      return times
    },
    set times(next) {
      times = next
      countingSince = performance.now()
    },
    claims: { sub: 'demo', name: 'Demo User', email: 'demo@example.com' } as Record<string, unknown>,
    withholdCookies: false,
    get refreshes() {
      return refreshes
    },
    expireAccessToken: () => {
      oldestLiving = generation + 1
    },
    endSession: () => {
      ended = true
    },
    answer(request: Received): Answer | undefined {
      if (request.path === '/authorize') {
        const back = new URL(
          '/callback?code=code-1&state=state-1&iss=https%3A%2F%2Fas.example&session_state=x',
          request.headers['referer']?.toString() ?? authorizationServer.replace('127.0.0.1', 'localhost'),
        )
        return { status: 303, headers: { location: back.href } }
      }
      if (request.path.startsWith('/api/')) return api(request)
      if (!request.path.startsWith('/oauth-agent/')) return undefined
      const route = agent[`${request.method} ${request.path.slice('/oauth-agent/'.length)}`]
      if (route === undefined) return undefined
      if (request.headers['token-handler-version'] !== '1') return json(403, { error_code: 'missing_header' })
      return route(request)
    },
  }
  return script
}

export function json(
  status: number,
  body: unknown,
  cookies: string[] = [],
  headers: Record<string, string> = {},
): Answer {
  return {
    status,
    headers: {
      'content-type': 'application/json',
      ...headers,
      ...(cookies.length === 0 ? {} : { 'set-cookie': cookies }),
    },
    body: JSON.stringify(body),
  }
}

function cookie(request: Received, name: string): string | undefined {
  const pairs = String(request.headers['cookie'] ?? '').split('; ')
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1)
}
