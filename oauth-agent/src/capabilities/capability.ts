import type { Request, RequestHandler } from 'express'
import {
  epochSeconds,
  identityHash,
  TokenHandlerError,
  type Clock,
  type Logger,
  type Peers,
} from '@token-handler/shared'
import { addCookies, sendJson } from '../answers.ts'
import type { Recorder } from '../audit-trail.ts'
import { arrivalOf } from '../errors.ts'
import type { AgentMetrics } from '../metrics.ts'
import type { OAuthAgentOptions } from '../options.ts'
import { createCounts } from '../rate-limit.ts'
import type { RefreshCookieClaims } from '../session-claims.ts'
import type { SessionContext } from '../session-context.ts'
import type { SessionCookies } from '../session-cookies.ts'
import type { JudgedSession, Sessions } from '../sessions.ts'
import type { Issue } from './issue.ts'
import { createJwt } from './jwt.ts'
import type { CapabilityOptions } from './options.ts'
import { createRequirements, type Holder } from './requirements.ts'
import { createPresigned } from './s3-presigned.ts'
import { createSts } from './s3-sts.ts'
import type { CapabilitySigner } from './signing.ts'

export interface CapabilityDeps {
  readonly options: OAuthAgentOptions
  readonly sessions: Pick<Sessions, 'judge'>
  readonly cookies: Pick<SessionCookies, 'clearTag'>
  readonly context: Pick<SessionContext, 'check'>
  readonly metrics: Pick<AgentMetrics, 'capability'>
  readonly peers: Peers
  readonly clock: Clock
  readonly logger: Logger
  readonly audit: Recorder
}

/** One configured capability. */
interface Capability {
  readonly options: CapabilityOptions
  readonly require: (holder: Holder) => void
  /** Counts a request of a user. @throws TokenHandlerError `too_many_requests` */
  readonly count: (user: string) => void
  readonly issue: Issue
}

/** `POST capabilities/<name>`: a temporary, narrow credential for a live session that may have it; else nothing. */
export function capability(deps: CapabilityDeps, signer: CapabilitySigner | undefined): RequestHandler {
  const { options, sessions, cookies, context, metrics, peers, clock, audit } = deps
  const capabilities = new Map(
    (options.capabilities ?? []).map((one) => [one.name, createCapability(one, deps, signer)] as const),
  )

  async function liveSession(req: Request): Promise<Extract<JudgedSession, { state: 'live' }> | { clear: string[] }> {
    const { cookie } = req.headers
    const judged = await sessions.judge(cookie, arrivalOf(req))
    if (judged.state === 'unavailable') throw new TokenHandlerError('store_unavailable', { retryAfterSeconds: 2 })
    if (judged.state === 'live') return judged
    return { clear: judged.state === 'ended' ? cookies.clearTag(judged.sid, cookie) : [] }
  }

  return async (req, res) => {
    const asked = capabilities.get(String(req.params['name']))
    let session: RefreshCookieClaims | undefined
    const record = (outcome: 'success' | 'refused' | 'failure', reason?: string, expiresIn?: number): void => {
      metrics.capability(asked?.options.name ?? 'other', reason ?? 'issued')
      audit.record({
        event: 'capability',
        outcome,
        reason,
        capability: asked?.options.name,
        sid: session?.sid,
        subject: session?.sub,
        scope: session?.scope,
        ...(expiresIn === undefined ? {} : { details: { expires_in: expiresIn } }),
      })
    }
    try {
      const live = await liveSession(req)
      if ('clear' in live) {
        addCookies(res, live.clear)
        throw new TokenHandlerError('session_expired')
      }
      session = live.claims
      context.check(req, session)
      if (asked === undefined) throw new TokenHandlerError('not_found')
      const { sub } = session
      const claims = live.id?.policy ?? {}
      const holder: Holder = {
        session,
        claimOf: (path) => (path === 'sub' ? sub : Object.hasOwn(claims, path) ? claims[path] : undefined),
        address: peers.clientAddressOf(req),
      }
      asked.require(holder)
      asked.count(identityHash(options.authorizationServer.issuer, sub))
      const ttlSeconds = Math.min(asked.options.ttlSeconds, session.exp - epochSeconds(clock))
      if (ttlSeconds < 1) throw new TokenHandlerError('session_expired')
      const issued = await asked.issue({ req, holder, ttlSeconds })
      record('success', undefined, issued.expires_in)
      sendJson(res, 200, { kind: asked.options.kind, ...issued })
    } catch (error) {
      const code = error instanceof TokenHandlerError ? error : new TokenHandlerError('server_error')
      record(code.status >= 500 ? 'failure' : 'refused', code.code)
      throw error
    }
  }
}

function createCapability(
  options: CapabilityOptions,
  { options: { roles = [] }, clock, logger }: CapabilityDeps,
  signer: CapabilitySigner | undefined,
): Capability {
  const { requests, windowSeconds } = options.rateLimit
  const counts = createCounts(windowSeconds * 1000, clock)
  return {
    options,
    require: createRequirements(options, roles, clock),
    issue: createIssue(options, clock, signer),
    count(user) {
      const { totalHits, resetTime } = counts.increment(user)
      if (totalHits <= requests) return
      if (totalHits === requests + 1) {
        const fields = { event: 'rate_limited', capability: options.name, subject: user }
        logger.warn(fields, 'A user asks too often for a capability.')
      }
      const retryAfterSeconds = Math.max(1, Math.ceil((resetTime.getTime() - clock.now()) / 1000))
      throw new TokenHandlerError('too_many_requests', { retryAfterSeconds })
    },
  }
}

function createIssue(options: CapabilityOptions, clock: Clock, signer: CapabilitySigner | undefined): Issue {
  switch (options.kind) {
    case 's3-presigned':
      return createPresigned(options, clock)
    case 's3-sts':
      return createSts(options, clock)
    case 'jwt':
      break
  }
  if (signer === undefined) throw new Error('capabilities of the kind jwt need a signing key')
  return createJwt(options, signer, clock)
}

/** `GET jwks.json`: public keys, for whoever verifies our tokens, from wherever. */
export function jwks({ keySet }: CapabilitySigner): RequestHandler {
  return (_req, res) => {
    res.setHeader('cache-control', 'public, max-age=300')
    res.setHeader('access-control-allow-origin', '*')
    res.setHeader('cross-origin-resource-policy', 'cross-origin')
    res.removeHeader('access-control-allow-credentials')
    sendJson(res, 200, { ...keySet })
  }
}
