import type { IncomingMessage } from 'node:http'
import { type AuditLog, type Ledger, type Logger } from '@token-handler/shared'
import type { z } from 'zod'
import { BodyError, readJson } from './body.ts'
import { revocationSchema, revokeAs, targetOf } from './revocation.ts'
import { listSessions, sessionsSchema, unreadableOf } from './sessions.ts'
import { fromReplicas, listKeys, listReplicas, listRules } from './state.ts'

export interface AdminApiDeps {
  readonly ledger: Ledger
  readonly issuer: string
  /** Longest life of a session. */
  readonly absoluteSeconds: number
  /** @returns The name of who asks, or `undefined`. */
  readonly authenticate: (req: IncomingMessage) => string | undefined
  readonly audit: Pick<AuditLog, 'record'>
  readonly logger: Logger
}

export interface AdminAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
}

type Perform = (req: IncomingMessage, actor: string) => Promise<AdminAnswer>

interface Route {
  readonly method: 'GET' | 'POST'
  /** What the audit log calls it. */
  readonly target: string
  readonly perform: Perform
}

/**
 * The admin API under `/admin/`; docs/openapi-admin.yaml has the contract. For programs, not for pages: what a browser
 * sends for one is refused. Every call is recorded with the name of who made it.
 * @returns `undefined` for a path that is not of the API.
 */
export function createAdminApi(deps: AdminApiDeps): (req: IncomingMessage) => Promise<AdminAnswer> | undefined {
  const { ledger, authenticate, audit, logger } = deps

  const routes: Readonly<Record<string, Route>> = {
    '/admin/sessions': {
      method: 'POST',
      target: 'sessions',
      perform: async (req) => {
        const asked = await parsed(req, sessionsSchema)
        if ('status' in asked) return asked
        const found = await listSessions(asked.value, deps)
        if (found.state === 'unknown') return storeUnavailable
        return ok({ sessions: found.sessions, ...unreadableOf(found.unreadable) })
      },
    },
    '/admin/revoke': {
      method: 'POST',
      target: 'revocation',
      perform: async (req, actor) => {
        const asked = await parsed(req, revocationSchema)
        if ('status' in asked) return asked
        const request = asked.value
        const outcome = await revokeAs(actor, request, deps)
        if (outcome.state === 'unknown') return storeUnavailable
        const { isDryRun, sessions, unreadable, before, expiresAt } = outcome
        return ok({
          target: targetOf(request),
          dry_run: isDryRun,
          ...(before === undefined ? {} : { before: new Date(before).toISOString() }),
          ...(expiresAt === undefined ? {} : { expires_at: new Date(expiresAt).toISOString() }),
          ...(sessions === undefined ? {} : { sessions }),
          ...unreadableOf(unreadable),
        })
      },
    },
    '/admin/rules': { method: 'GET', target: 'rules', perform: async () => ok(listRules(ledger.rules)) },
    '/admin/replicas': { method: 'GET', target: 'replicas', perform: async () => readReplicas(listReplicas) },
    '/admin/keys': { method: 'GET', target: 'keys', perform: async () => readReplicas(listKeys) },
  }

  async function readReplicas(list: Parameters<typeof fromReplicas>[1]): Promise<AdminAnswer> {
    const read = await fromReplicas(ledger, list)
    return read.state === 'unknown' ? storeUnavailable : ok(read.body)
  }

  async function answer(req: IncomingMessage, route: Route | undefined): Promise<AdminAnswer> {
    const { headers, method } = req
    const target = route?.target ?? 'unknown'
    const record = (outcome: 'success' | 'refused' | 'failure', reason?: string, actor?: string): void =>
      audit.record({ event: 'admin', outcome, actor, target, reason, method, address: req.socket.remoteAddress })
    if (headers.origin !== undefined || (headers['sec-fetch-site'] ?? 'none') !== 'none') {
      record('refused', 'untrusted_origin')
      return refused(403, 'untrusted_origin', 'This is not for pages.')
    }
    const actor = authenticate(req)
    if (actor === undefined) {
      logger.warn({ event: 'admin_refused', security: true, target }, 'Somebody without a key asked.')
      record('refused', 'unauthorized')
      return {
        ...refused(401, 'unauthorized', 'An admin key or a client certificate is needed.'),
        headers: { 'www-authenticate': 'Bearer' },
      }
    }
    if (route === undefined) return refused(404, 'not_found', 'There is nothing here.')
    if (method !== route.method) {
      const headersOfAnswer = { allow: route.method }
      return { ...refused(405, 'method_not_allowed', 'Not with this method.'), headers: headersOfAnswer }
    }
    const answered = await route.perform(req, actor)
    record(answered.status < 400 ? 'success' : answered.status < 500 ? 'refused' : 'failure', codeOf(answered), actor)
    return answered
  }

  return (req) => {
    const path = req.url ?? ''
    if (path !== '/admin' && !path.startsWith('/admin/')) return undefined
    return answer(req, Object.hasOwn(routes, path) ? routes[path] : undefined)
  }
}

async function parsed<Schema extends z.ZodType>(
  req: IncomingMessage,
  schema: Schema,
): Promise<{ readonly value: z.output<Schema> } | AdminAnswer> {
  try {
    const result = schema.safeParse(await readJson(req))
    if (result.success) return { value: result.data }
    const problems = result.error.issues.map(({ path, message }) => [...path.map(String), message].join(': '))
    const answer = refused(400, 'invalid_request', 'The request is not right.')
    return { ...answer, body: { ...answer.body, problems } }
  } catch (error) {
    if (!(error instanceof BodyError)) throw error
    // What is left of the body must not be taken for the next request.
    return { ...refused(error.status, error.code, error.message), headers: { connection: 'close' } }
  }
}

function ok(body: Readonly<Record<string, unknown>>): AdminAnswer {
  return { status: 200, body }
}

function refused(status: number, code: string, message: string): AdminAnswer {
  return { status, body: { code, message } }
}

const storeUnavailable: AdminAnswer = {
  ...refused(503, 'store_unavailable', 'The session ledger cannot be reached. Try again: nothing is certain.'),
  headers: { 'retry-after': '2' },
}

function codeOf({ body }: AdminAnswer): string | undefined {
  return typeof body['code'] === 'string' ? body['code'] : undefined
}
