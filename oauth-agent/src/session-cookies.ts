import { createHash, randomBytes } from 'node:crypto'
import {
  allChunkNames,
  clearCookieLine,
  cookieTag,
  epochSeconds,
  identityHash,
  listCookieNames,
  maxChunks,
  setCookieLines,
  writtenNames,
  type AccessCookieClaims,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type SessionClaims,
  type SessionIdentity,
} from '@token-handler/shared'
import type { Tokens } from './authorization-server.ts'
import type { IdTokenClaims } from './id-token.ts'
import type { OAuthAgentOptions } from './options.ts'
import { maxPendingLoginBytes, maxPendingLogins } from './pending-login.ts'

/**
 * What the refresh cookie holds: the facts of the session, and what makes this generation of it. Its `exp` is the absolute
 * deadline of the session.
 */
export interface RefreshCookieClaims extends SessionClaims {
  /** Generation; counts the refreshes. */
  readonly g: number
  /** The refresh token, if the authorization server gave one. */
  readonly rt?: string
  /** 256-bit key that opens the parked cookies of the next generation. */
  readonly k: string
  /** Seconds since 1970: end of the access cookie. */
  readonly ate: number
  /** Seconds: how long the access cookie lived when it was made. */
  readonly atl: number
  /** Lengths of the access and ID cookies' values in force; 0 is none. */
  readonly len: readonly [access: number, id: number]
  /** Start of the session, milliseconds on the ledger's clock. */
  readonly sst: number
  /** Subject, as the ID token names it. */
  readonly sub: string
  /** Hash of the issuer and the authorization server's session id. */
  readonly asid?: string
  /** Hash of the login's nonce. */
  readonly nh: string
  readonly scope?: string
  readonly acr?: string
  readonly auth_time?: number
  /** ID-token claims that route policies name. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** What the ID cookie holds. Its `exp` is the absolute deadline too. */
export interface IdCookieClaims extends SessionClaims {
  readonly claims: Readonly<Record<string, unknown>>
  /** The ID token itself, only for `logout.idTokenHint`. */
  readonly idt?: string
}

/** The sealed cookies of one generation, as they are sent, or parked for somebody who missed them. */
export interface Generation {
  readonly claims: RefreshCookieClaims
  readonly refresh: string
  /** Absent when the access token is too large for the budgets. */
  readonly access?: string | undefined
  /** Absent when the ID cookie of the generation before is still right. */
  readonly id?: string | undefined
}

export interface NewSession {
  readonly sid: string
  /** Milliseconds on the ledger's clock. */
  readonly startedAt: number
  readonly tokens: Tokens & { readonly idToken: NonNullable<Tokens['idToken']> }
  readonly nonce: string
  /** What was granted where the answer does not say (RFC 6749 section 5.1); empty when that is not known. */
  readonly requestedScope: string
}

/** A generation, or why it cannot be set. Sizes are bytes. */
export type Sealed =
  | { readonly fits: true; readonly generation: Generation }
  /** `generation` lacks the access cookie and fits; it is missing when nothing would. */
  | { readonly fits: false; readonly size: string; readonly generation: Generation | undefined }

export interface SessionCookies {
  /** Seals generation 0 of a new session. */
  seal(session: NewSession): Sealed
  /** Seals the generation after `shown`. */
  sealSuccessor(shown: RefreshCookieClaims, tokens: Tokens): Sealed
  /** Opens a refresh cookie's value. */
  openRefresh(value: string): RefreshCookieClaims | undefined
  /** Opens an ID cookie's value. */
  openId(value: string): IdCookieClaims | undefined
  /** Set-Cookie lines of a generation, with the names cleared that only the cookies before it used. */
  lines(generation: Generation, before: CookiesBefore): string[]
  sidLine(claims: RefreshCookieClaims): string
  /**
   * Clears all session cookies under one tag, every name that they could have; the sid cookie stays.
   * @param besides Other lines of the answer. Where the budget is short, only names that this browser sent, or that it
   * would not send here, are cleared.
   */
  clearTag(sid: string, cookieHeader: string | undefined, besides?: readonly string[]): string[]
  clearSid(): string
  /** Clears cookies of sessions that are not this one, as far as the budget of the answer allows. */
  clearForeign(cookieHeader: string | undefined, sid: string | undefined, lines: readonly string[]): string[]
}

export interface CookiesBefore {
  readonly cookieHeader: string | undefined
  /** The generation that the browser showed, if it is of this session. */
  readonly shown?: RefreshCookieClaims
}

/** A deletion costs about 130 bytes of the answer. */
const mostForeignCleared = 8
/** `Set-Cookie: ` and the line end. */
const fieldBytes = 14

export function createSessionCookies({
  options,
  names,
  sealer,
  clock,
}: {
  readonly options: OAuthAgentOptions
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly clock: Clock
}): SessionCookies {
  const { accessTokenPath, agentPath, persistent, headerBudgetBytes, responseBudgetBytes } = options.cookies
  const loginReserve = maxPendingLogins * (names.login('').length + 16 + 3 + maxPendingLoginBytes)

  function line(name: string, value: string, path: string, expiresAt: number): string[] {
    const maxAgeSeconds = persistent ? Math.max(1, expiresAt - epochSeconds(clock)) : undefined
    // Nothing is sealed that needs more chunks than there are: the budgets forbid it before.
    return setCookieLines({ name, value, path, maxAgeSeconds }) ?? []
  }

  function lines({ claims, refresh, access, id }: Generation, { cookieHeader, shown }: CookiesBefore): string[] {
    const tag = cookieTag(claims.sid)
    const isChanged = new Map<string, string | undefined>([[names.refreshToken(tag), refresh]])
    if (id !== undefined) isChanged.set(names.idToken(tag), id)
    const set = [
      ...(access === undefined ? [] : line(names.accessToken(tag), access, accessTokenPath, claims.ate)),
      ...line(names.refreshToken(tag), refresh, agentPath, claims.exp),
      ...(id === undefined ? [] : line(names.idToken(tag), id, agentPath, claims.exp)),
    ]
    const sent = new Set(listCookieNames(cookieHeader))
    const stale = [...isChanged].flatMap(([name, value = '']) => {
      const written = writtenNames(name, value.length)
      return allChunkNames(name).filter((one) => sent.has(one) && !written.includes(one))
    })
    const kept = access === undefined ? [] : writtenNames(names.accessToken(tag), access.length)
    // The access cookie is not sent to us, so its names are known from the refresh cookie beside it only.
    const staleAccess =
      shown === undefined || shown.len[0] === 0 ? [] : writtenNames(names.accessToken(tag), shown.len[0])
    return [
      ...set,
      ...stale.map((name) => clearCookieLine(name, agentPath)),
      ...staleAccess.filter((name) => !kept.includes(name)).map((name) => clearCookieLine(name, accessTokenPath)),
    ]
  }

  function sidLine({ sid, exp }: RefreshCookieClaims): string {
    return line(names.sid, sid, '/', exp).join()
  }

  /** What is over budget, or `undefined`. `extra` are bytes of other lines in the same answer. */
  function overBudget(generation: Generation, extra: number, shown?: RefreshCookieClaims): string | undefined {
    const { claims, refresh, access, id } = generation
    for (const value of [access, refresh, id]) {
      if (writtenNames('', value?.length ?? 0).length > maxChunks) return `more than ${maxChunks} chunks`
    }
    const tag = cookieTag(claims.sid)
    const base = headerBytes(names.sid, 22) + loginReserve
    const api = access === undefined ? 0 : headerBytes(names.accessToken(tag), access.length)
    const agent = headerBytes(names.refreshToken(tag), refresh.length) + headerBytes(names.idToken(tag), claims.len[1])
    const header = Math.max(
      base + api + (isUnder(accessTokenPath, agentPath) ? agent : 0),
      base + agent + (isUnder(agentPath, accessTokenPath) ? api : 0),
    )
    const answer = answerBytes(lines(generation, shown === undefined ? noneBefore : { ...noneBefore, shown })) + extra
    if (header <= headerBudgetBytes && answer <= responseBudgetBytes) return undefined
    return `Cookie header ${header} of ${headerBudgetBytes} bytes, Set-Cookie ${answer} of ${responseBudgetBytes} bytes`
  }

  function fit(make: (withAccess: boolean) => Generation, extra: number, shown?: RefreshCookieClaims): Sealed {
    const generation = make(true)
    const size = overBudget(generation, extra, shown)
    if (size === undefined) return { fits: true, generation }
    const without = make(false)
    return { fits: false, size, generation: overBudget(without, extra, shown) === undefined ? without : undefined }
  }

  /** Seals access and refresh cookie: the refresh cookie knows how long the others are. */
  function sealGeneration(
    facts: Omit<RefreshCookieClaims, 'len' | 'ate' | 'atl' | 'k'>,
    { accessToken, expiresInSeconds }: Tokens,
    { id, idLength, withAccess }: { id: string | undefined; idLength: number; withAccess: boolean },
  ): Generation {
    const now = epochSeconds(clock)
    const life = expiresInSeconds ?? options.session.accessTokenSeconds
    const ate = Math.min(now + Math.min(life, options.session.accessCookieSeconds), facts.exp)
    const { sid, sst, sub, asid, scope, acr, auth_time, claims } = facts
    const accessClaims: AccessCookieClaims = {
      sid,
      exp: ate,
      at: accessToken,
      sst,
      sub: identityHash(options.authorizationServer.issuer, sub),
      ...(asid === undefined ? {} : { asid }),
      ...(scope === undefined ? {} : { scope }),
      ...(acr === undefined ? {} : { acr }),
      ...(auth_time === undefined ? {} : { auth_time }),
      ...(claims === undefined ? {} : { claims }),
    }
    const access = withAccess ? sealer.seal('access-token', accessClaims) : undefined
    const all: RefreshCookieClaims = {
      ...facts,
      k: randomBytes(32).toString('base64url'),
      ate: withAccess ? ate : now,
      atl: withAccess ? ate - now : 0,
      len: [access?.length ?? 0, idLength],
    }
    return { claims: all, refresh: sealer.seal('refresh-token', all), access, id }
  }

  function sealId(sid: string, exp: number, { raw, claims }: NonNullable<Tokens['idToken']>): string {
    const idClaims: IdCookieClaims = {
      sid,
      exp,
      claims: pick(claims, options.idTokenClaims) ?? {},
      ...(options.logout.idTokenHint ? { idt: raw } : {}),
    }
    return sealer.seal('id-token', idClaims)
  }

  return {
    seal({ sid, startedAt, tokens, nonce, requestedScope }) {
      const scope = tokens.scope ?? requestedScope
      const { claims } = tokens.idToken
      const exp = epochSeconds(clock) + options.session.absoluteSeconds
      const id = sealId(sid, exp, tokens.idToken)
      const routeClaims = pick(claims, options.routeClaims)
      const facts = {
        sid,
        exp,
        g: 0,
        sst: startedAt,
        sub: claims.sub,
        nh: nonceHash(nonce),
        ...(scope === '' ? {} : { scope }),
        ...(tokens.refreshToken === undefined ? {} : { rt: tokens.refreshToken }),
        ...(typeof claims.sid === 'string'
          ? { asid: identityHash(options.authorizationServer.issuer, claims.sid) }
          : {}),
        ...(typeof claims.acr === 'string' ? { acr: claims.acr } : {}),
        ...(typeof claims.auth_time === 'number' ? { auth_time: claims.auth_time } : {}),
        ...(routeClaims === undefined ? {} : { claims: routeClaims }),
      }
      // The answer to a login also sets the sid cookie and clears the pending login.
      const clearedLogin = clearCookieLine(names.login('0'.repeat(16)), '/')
      const other = answerBytes([line(names.sid, sid, '/', exp).join(), clearedLogin])
      return fit((withAccess) => sealGeneration(facts, tokens, { id, idLength: id.length, withAccess }), other)
    },

    sealSuccessor(shown, tokens) {
      const { k: _k, ate: _ate, atl: _atl, len, ...facts } = shown
      const routeClaims = tokens.idToken === undefined ? shown.claims : pick(tokens.idToken.claims, options.routeClaims)
      const { claims: _claims, ...others } = facts
      const next = {
        ...others,
        g: shown.g + 1,
        ...(tokens.refreshToken === undefined ? {} : { rt: tokens.refreshToken }),
        ...(tokens.scope === undefined ? {} : { scope: tokens.scope }),
        ...(routeClaims === undefined ? {} : { claims: routeClaims }),
      }
      const id = tokens.idToken === undefined ? undefined : sealId(shown.sid, shown.exp, tokens.idToken)
      const idLength = id?.length ?? len[1]
      return fit((withAccess) => sealGeneration(next, tokens, { id, idLength, withAccess }), 0, shown)
    },

    openRefresh(value) {
      const opened = sealer.open<RefreshCookieClaims>('refresh-token', value)
      return opened.ok ? opened.claims : undefined
    },

    openId(value) {
      const opened = sealer.open<IdCookieClaims>('id-token', value)
      return opened.ok ? opened.claims : undefined
    },

    lines,
    sidLine,

    clearTag(sid, cookieHeader, besides = []) {
      const tag = cookieTag(sid)
      const access = allChunkNames(names.accessToken(tag)).map((name) => clearCookieLine(name, accessTokenPath))
      const ours = [names.refreshToken(tag), names.idToken(tag)].flatMap((name) => allChunkNames(name))
      const all = [...access, ...ours.map((name) => clearCookieLine(name, agentPath))]
      if (answerBytes([...besides, ...all]) <= responseBudgetBytes) return all
      const sent = new Set(listCookieNames(cookieHeader))
      return [...access, ...ours.filter((name) => sent.has(name)).map((name) => clearCookieLine(name, agentPath))]
    },

    clearSid: () => clearCookieLine(names.sid, '/'),

    clearForeign(cookieHeader, sid, answer) {
      const own = sid === undefined ? undefined : cookieTag(sid)
      const prefixes = [names.refreshToken(''), names.idToken('')]
      const foreign = [...new Set(listCookieNames(cookieHeader))].filter((name) =>
        prefixes.some((prefix) => name.startsWith(prefix) && name.slice(prefix.length).split('.', 1)[0] !== own),
      )
      let room = responseBudgetBytes - answerBytes(answer)
      return foreign
        .slice(0, mostForeignCleared)
        .map((name) => clearCookieLine(name, agentPath))
        .filter((cleared) => {
          room -= cleared.length + fieldBytes
          return room >= 0
        })
    },
  }
}

const noneBefore: CookiesBefore = { cookieHeader: undefined }

/** The facts that rules are judged by. */
export function identityOf({ sid, sst, sub, asid }: RefreshCookieClaims, issuer: string): SessionIdentity {
  return { sid, startedAt: sst, subjectHash: identityHash(issuer, sub), asSessionHash: asid }
}

/** 96 bits that tell one nonce from another. */
export function nonceHash(nonce: string): string {
  return createHash('sha256').update(nonce).digest('base64url').slice(0, 16)
}

function pick(claims: IdTokenClaims, wanted: readonly string[]): Readonly<Record<string, unknown>> | undefined {
  const found = wanted.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]] as const)
  return found.length === 0 ? undefined : Object.fromEntries(found)
}

/** Bytes that a cookie adds to a Cookie header: names, values and separators. */
function headerBytes(name: string, valueLength: number): number {
  if (valueLength === 0) return 0
  const written = writtenNames(name, valueLength)
  return valueLength + (written.length > 1 ? 2 : 0) + written.reduce((sum, one) => sum + one.length + 3, 0)
}

function answerBytes(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + line.length + fieldBytes, 0)
}

function isUnder(path: string, base: string): boolean {
  return base === '/' || path === base || path.startsWith(`${base}/`)
}
