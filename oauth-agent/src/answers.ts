import type { Response } from 'express'
import { epochSeconds, type Clock } from '@token-handler/shared'
import { accessSecondsLeft, type IdCookieClaims, type RefreshCookieClaims } from './session-claims.ts'

/**
 * Answers with JSON. Written by hand: the SPA's library reads errors only when the content type is exactly
 * `application/json`, and Express would add a charset and an ETag.
 */
export function sendJson(res: Response, status: number, body: Readonly<Record<string, unknown>>): void {
  const text = JSON.stringify(body)
  res.statusCode = status
  res.setHeader('content-type', 'application/json')
  res.setHeader('content-length', Buffer.byteLength(text))
  res.end(text)
  // An answer that arrives a minute late would bring cookies that were replaced meanwhile.
  const timer = setTimeout(() => res.destroy(), longestWriteMs).unref()
  res.once('close', () => clearTimeout(timer))
}

const longestWriteMs = 30_000

/** Adds Set-Cookie lines to those that the answer has. */
export function addCookies(res: Response, lines: readonly string[]): void {
  for (const line of lines) res.appendHeader('set-cookie', line)
}

/** Seconds left, so that a wrong clock in the browser does not matter. */
export interface SessionTimes {
  readonly access_token_expires_in: number
  readonly access_token_lifetime: number
  readonly session_expires_in: number
  readonly idle_expires_in?: number
}

export function sessionTimes(
  claims: RefreshCookieClaims,
  clock: Clock,
  idleSecondsLeft: number | undefined,
): SessionTimes {
  const now = epochSeconds(clock)
  const left = Math.max(0, claims.exp - now)
  return {
    access_token_expires_in: accessSecondsLeft(claims, clock),
    access_token_lifetime: claims.atl,
    session_expires_in: left,
    ...(idleSecondsLeft === undefined ? {} : { idle_expires_in: Math.max(0, Math.min(left, idleSecondsLeft)) }),
  }
}

export interface LiveSession {
  readonly claims: RefreshCookieClaims
  readonly id: IdCookieClaims | undefined
  readonly idleSecondsLeft: number | undefined
}

/** The answer that the SPA gets about a live session. */
export function sessionAnswer(
  { claims, id, idleSecondsLeft }: LiveSession,
  clock: Clock,
): Readonly<Record<string, unknown>> {
  return {
    is_logged_in: true,
    ...(id === undefined ? {} : { id_token_claims: id.claims }),
    ...sessionTimes(claims, clock, idleSecondsLeft),
  }
}

export const loggedOutAnswer: Readonly<Record<string, unknown>> = { is_logged_in: false }
