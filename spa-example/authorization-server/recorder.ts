import type { Provider } from './provider.ts'

/** A call that a client made to the server directly, for tests to look at. */
export interface BackChannelRequest {
  /** For example `/token`. */
  path: string
  method: string
  /** Scheme of the Authorization header, in lower case: `basic`, `bearer`; undefined without one. */
  authorizationScheme: string | undefined
  /** Form parameters; empty until the answer is made. */
  parameters: Record<string, string>
  /** Status of the answer; undefined until it is made. */
  status: number | undefined
}

/** What one answer of the token endpoint held, so that tests know which values must not appear anywhere. */
export interface IssuedTokens {
  accessToken: string
  refreshToken: string | undefined
  idToken: string | undefined
}

const BACK_CHANNEL = new Set(['/token', '/token/introspection', '/token/revocation', '/request', '/me'])

/** Old entries leave when there are more than this, so that a long-running demo does not grow. */
const MAX_ENTRIES = 10_000

/** Records the back channel from now on. */
export function recordBackChannel(provider: Provider): { requests: BackChannelRequest[]; issued: IssuedTokens[] } {
  const requests: BackChannelRequest[] = []
  const issued: IssuedTokens[] = []
  provider.use(async (ctx, next) => {
    if (!BACK_CHANNEL.has(ctx.path)) {
      await next()
      return
    }
    const scheme = ctx.get('Authorization').split(' ')[0]?.toLowerCase()
    const request: BackChannelRequest = {
      path: ctx.path,
      method: ctx.method,
      authorizationScheme: scheme === '' ? undefined : scheme,
      parameters: {},
      status: undefined,
    }
    push(requests, request)
    try {
      await next()
    } finally {
      const { oidc } = ctx as { oidc?: { body?: Record<string, string> } }
      request.parameters = { ...oidc?.body }
      request.status = ctx.status
      const body = ctx.body as Record<string, string> | undefined
      const accessToken = ctx.path === '/token' ? body?.['access_token'] : undefined
      if (accessToken !== undefined)
        push(issued, { accessToken, refreshToken: body?.['refresh_token'], idToken: body?.['id_token'] })
    }
  })
  return { requests, issued }
}

function push<Entry>(list: Entry[], entry: Entry): void {
  list.push(entry)
  if (list.length > MAX_ENTRIES) list.shift()
}
