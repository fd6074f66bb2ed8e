import type { IncomingMessage } from 'node:http'
import type { AuditLog, Clock, Ledger, Logger } from '@token-handler/shared'
import { certificateNameOf } from '../admin/authentication.ts'
import { BodyError, readForm } from '../admin/body.ts'
import { revokeAs } from '../admin/revocation.ts'
import { listSessions, type ListedSession } from '../admin/sessions.ts'
import { BrowserSessions, hasToken, type BrowserSession } from './browser-sessions.ts'
import { dashboard, ranges, type Dashboard, type RangeName } from './dashboard.ts'
import type { FiguresByProcess } from './figures.ts'
import { pageHeaders } from './frame.ts'
import { loginPage } from './login-page.ts'
import { isFromThisPage } from './origin.ts'
import { problemPage } from './problem-page.ts'
import { confirmPage, fieldsOf, requestOf } from './revoke-form.ts'
import { createWatch } from './watch.ts'
import { WrongKeys } from './wrong-keys.ts'

export interface OperationsDeps {
  readonly ledger: Ledger
  readonly issuer: string
  /** Longest life of a session. */
  readonly absoluteSeconds: number
  /** @returns Whose admin key something is. */
  readonly holderOf: (key: string) => string | undefined
  /** What every process counted. */
  readonly figures: () => Promise<FiguresByProcess>
  readonly audit: Pick<AuditLog, 'record'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface PageAnswer {
  readonly status: number
  readonly contentType: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The operations page under `/operations`. */
export interface Operations {
  /** @returns `undefined` for a path that is not the page's. */
  answer(req: IncomingMessage): Promise<PageAnswer> | undefined
  close(): void
}

interface Asked {
  readonly req: IncomingMessage
  readonly form: URLSearchParams
  readonly session: BrowserSession
}

/**
 * A page for operators, made here and without script. A browser logs in with an admin key, or a client certificate; see
 * docs/decisions/0009-operations-page.md. Forms are taken from this page alone: exact origin, and the session's token. Every call is
 * recorded with who made it.
 */
export function createOperations(deps: OperationsDeps): Operations {
  const { ledger, holderOf, audit, clock, logger } = deps
  const sessions = new BrowserSessions(clock)
  const wrongKeys = new WrongKeys(clock)
  const watch = createWatch(deps)

  const forms: Readonly<Record<string, (asked: Asked) => Promise<PageAnswer>>> = {
    '/operations/logout': async ({ req }) => seeOther({ 'set-cookie': sessions.end(req) }),

    '/operations/revoke': async ({ form, session }) => {
      const fields = fieldsOf(form)
      const request = requestOf(fields, true)
      if ('problems' in request) return page(400, await overview(session, 'hour', { fields, ...request }))
      const outcome = await revokeAs(session.actor, request, deps)
      // Who cannot be counted, or listed, can be ended all the same.
      return page(200, confirmPage(session, fields, outcome, await listedFor(request)))
    },

    '/operations/revoke/confirm': async ({ form, session }) => {
      const fields = fieldsOf(form)
      const request = requestOf(fields, false)
      if ('problems' in request) return page(400, await overview(session, 'hour', { fields, ...request }))
      const outcome = await revokeAs(session.actor, request, deps)
      if (outcome.state === 'unknown') return storeUnavailable(session)
      const { sessions: ended } = outcome
      session.notice =
        ended === undefined
          ? 'Done: the sessions are over, on every process.'
          : `Done: ${ended} live ${ended === 1 ? 'session is' : 'sessions are'} over, on every process.`
      return seeOther()
    },
  }

  async function listedFor({
    sub,
    sid,
  }: {
    sub?: string | undefined
    sid?: string | undefined
  }): Promise<readonly ListedSession[]> {
    if (sub === undefined && sid === undefined) return []
    const found = await listSessions({ sub, sid }, deps)
    return found.state === 'unknown' ? [] : found.sessions
  }

  async function overview(session: BrowserSession, range: RangeName, more: Partial<Dashboard> = {}): Promise<string> {
    const [seen, replicas] = await Promise.all([watch.look(), ledger.directory.replicas()])
    const { hours, minutesEach } = ranges[range]
    return dashboard({
      session,
      range,
      ...seen,
      stretches: watch.history.stretches(hours, minutesEach),
      rules: ledger.rules,
      replicas,
      staleAfterMs: ledger.rules.staleAfterMs,
      now: clock.now(),
      ...more,
    })
  }

  async function logIn(req: IncomingMessage): Promise<PageAnswer> {
    const address = req.socket.remoteAddress ?? ''
    const secondsToWait = wrongKeys.secondsToWait(address)
    if (secondsToWait > 0) {
      record(req, 'refused', 'login', undefined, 'too_many_requests')
      const refused = page(429, loginPage(`Too many wrong keys. Try again in ${secondsToWait} s.`))
      return { ...refused, headers: { ...refused.headers, 'retry-after': String(secondsToWait) } }
    }
    const actor = holderOf((await readForm(req)).get('key') ?? '')
    if (actor === undefined) {
      wrongKeys.add(address)
      logger.warn({ event: 'admin_refused', security: true, target: 'operations.login', address }, 'A key was wrong.')
      record(req, 'refused', 'login', undefined, 'unauthorized')
      return page(401, loginPage('This is no admin key.'))
    }
    record(req, 'success', 'login', actor)
    sessions.end(req)
    return seeOther({ 'set-cookie': sessions.begin(req, actor).cookie })
  }

  function record(
    { method, socket }: IncomingMessage,
    outcome: 'success' | 'refused' | 'failure',
    part: string,
    actor?: string,
    reason?: string,
  ): void {
    const target = part === '' ? 'operations' : `operations.${part}`
    audit.record({ event: 'admin', outcome, actor, target, reason, method, address: socket.remoteAddress })
  }

  /** A client certificate speaks for itself at every request; its session only holds the token of the forms. */
  function sessionOf(req: IncomingMessage): { readonly session: BrowserSession; readonly cookie?: string } | undefined {
    const certificate = certificateNameOf(req)
    const session = sessions.find(req)
    if (certificate === undefined) return session?.actor.startsWith('certificate ') === false ? { session } : undefined
    return session?.actor === certificate ? { session } : sessions.begin(req, certificate)
  }

  async function show(req: IncomingMessage, range: RangeName): Promise<PageAnswer> {
    const found = sessionOf(req)
    if (found === undefined) return page(200, loginPage())
    const { session, cookie } = found
    record(req, 'success', '', session.actor)
    const { notice } = session
    session.notice = undefined
    return page(200, await overview(session, range, { notice }), cookie === undefined ? {} : { 'set-cookie': cookie })
  }

  async function submit(req: IncomingMessage, path: string): Promise<PageAnswer> {
    const part = path.slice('/operations/'.length).replaceAll('/', '.')
    if (!isFromThisPage(req)) {
      record(req, 'refused', part, undefined, 'untrusted_origin')
      return page(403, problemPage('This form was not sent from this page.'), { connection: 'close' })
    }
    if (path === '/operations/login') return logIn(req)
    const found = sessionOf(req)
    if (found === undefined) {
      record(req, 'refused', part, undefined, 'unauthorized')
      return page(401, loginPage('Sign in again: nothing was done.'), { connection: 'close' })
    }
    const { session } = found
    const form = await readForm(req)
    if (!hasToken(session, form.get('form_token'))) {
      record(req, 'refused', part, session.actor, 'untrusted_origin')
      return page(403, problemPage('This form is out of date. Nothing was done.', session))
    }
    const answered = await forms[path]!({ req, form, session })
    record(req, answered.status < 400 ? 'success' : answered.status < 500 ? 'refused' : 'failure', part, session.actor)
    return answered
  }

  async function answer(req: IncomingMessage, url: string): Promise<PageAnswer> {
    const [path = '', query = ''] = url.split('?', 2)
    const isForm = path === '/operations/login' || Object.hasOwn(forms, path)
    if (path !== '/operations' && !isForm) return page(404, problemPage('There is nothing here.'))
    const isRead = req.method === 'GET' || req.method === 'HEAD'
    if (isForm ? req.method !== 'POST' : !isRead) {
      return page(405, problemPage('Not with this method.'), {
        allow: isForm ? 'POST' : 'GET, HEAD',
        connection: 'close',
      })
    }
    if (!isForm) return show(req, new URLSearchParams(query).get('range') === 'day' ? 'day' : 'hour')
    try {
      return await submit(req, path)
    } catch (error) {
      if (!(error instanceof BodyError)) throw error
      // What is left of the body must not be taken for the next request.
      return page(error.status, problemPage(error.message), { connection: 'close' })
    }
  }

  return {
    answer(req) {
      const url = req.url ?? ''
      return /^\/operations(?:[/?]|$)/.test(url) ? answer(req, url) : undefined
    },
    close: () => watch.stop(),
  }
}

function page(status: number, body: string, headers: Readonly<Record<string, string>> = {}): PageAnswer {
  return { status, contentType: 'text/html; charset=utf-8', headers: { ...pageHeaders, ...headers }, body }
}

/** Back to the page by GET, so that reading it again repeats nothing. */
function seeOther(headers: Readonly<Record<string, string>> = {}): PageAnswer {
  return page(303, '', { location: '/operations', ...headers })
}

function storeUnavailable(session: BrowserSession): PageAnswer {
  const text = 'The session ledger cannot be reached. Try again: nothing is certain.'
  return page(503, problemPage(text, session), { 'retry-after': '2' })
}
