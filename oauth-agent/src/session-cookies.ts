import { randomBytes } from 'node:crypto'
import {
  allChunkNames,
  chunkedCookieValues,
  clearCookieLine,
  cookieTag,
  epochSeconds,
  hiddenClaims,
  identityHash,
  listCookieNames,
  readSids,
  sealingKid,
  setCookieLines,
  writtenNames,
  type AccessCookieClaims,
  type Clock,
  type CookieNames,
  type ContextFacts,
  type CookieSealer,
} from '@token-handler/shared'
import { claimAt, claimsNeeded, rolesOf } from './capabilities/claims.ts'
import { answerBytes, largestHeader, overBudget } from './cookie-budget.ts'
import { holdToken } from './held-token.ts'
import type { OAuthAgentOptions } from './options.ts'
import {
  asSessionHash,
  nonceHash,
  pickClaims,
  type Generation,
  type IdCookieClaims,
  type RefreshCookieClaims,
  type SessionFacts,
} from './session-claims.ts'
import type { IdToken, LoginTokens, Tokens } from './tokens.ts'

export interface NewSession {
  readonly sid: string
  /** Milliseconds on the ledger's clock. */
  readonly startedAt: number
  readonly tokens: LoginTokens
  readonly nonce: string
  /** What was granted where the answer does not say (RFC 6749 section 5.1); empty when that is not known. */
  readonly requestedScope: string
  /** What the session is bound to. */
  readonly context?: ContextFacts | undefined
}

/** A generation, or why it cannot be set. */
export type Sealed =
  | { readonly fits: true; readonly generation: Generation }
  /** `generation` lacks the access cookie and fits; it is missing when nothing would. */
  | { readonly fits: false; readonly size: string; readonly generation: Generation | undefined }

/** Tokens in, Set-Cookie lines out; and the same cookies cleared. */
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
  /**
   * Clears cookies of sessions that are not this one, as far as the budget of the answer allows. The access cookie, which is
   * not sent to us, goes before the cookies that tell of it.
   */
  clearForeign(cookieHeader: string | undefined, sid: string | undefined, lines: readonly string[]): string[]
  /** The same, where only the sid cookie says which session is this one: with two of them nobody knows. */
  clearLeftovers(cookieHeader: string | undefined, lines: readonly string[]): string[]
}

/** What the browser has from before. */
export interface CookiesBefore {
  readonly cookieHeader?: string | undefined
  /** The generation that it showed, if it is of the same session. */
  readonly shown?: RefreshCookieClaims | undefined
}

export interface SessionCookiesDeps {
  readonly options: OAuthAgentOptions
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly clock: Clock
}

const mostForeignCleared = 8

export function createSessionCookies({ options, names, sealer, clock }: SessionCookiesDeps): SessionCookies {
  const { accessTokenPath, agentPath, persistent, responseBudgetBytes } = options.cookies
  const { issuer } = options.authorizationServer
  const shownClaims = options.idTokenClaims.filter((name) => !hiddenClaims.includes(name))
  const neededClaims = claimsNeeded(options.capabilities ?? [], options.roles ?? [])
  const routeRoles = options.roles?.filter(({ name }) => options.routeRoles?.includes(name)) ?? []
  const { tokens: tokenPlace = 'cookie' } = options
  const places = tokenPlace === 'auto' ? (['cookie', 'ledger'] as const) : [tokenPlace]

  function line(name: string, value: string, path: string, expiresAt: number): string[] {
    const maxAgeSeconds = persistent ? Math.max(1, expiresAt - epochSeconds(clock)) : undefined
    // The budgets refuse whatever would need more chunks than there are.
    return setCookieLines({ name, value, path, maxAgeSeconds }) ?? []
  }

  const clear = (path: string, cookieNames: readonly string[]): string[] =>
    cookieNames.map((name) => clearCookieLine(name, path))

  const accessNames = (tag: string, valueLength = 0): string[] =>
    valueLength === 0 ? [] : writtenNames(names.accessToken(tag), valueLength)

  /** Whose refresh or ID cookie it is by its name. */
  function tagOf(name: string): string | undefined {
    const prefix = [names.refreshToken(''), names.idToken('')].find((start) => name.startsWith(start))
    return prefix === undefined ? undefined : name.slice(prefix.length).split('.', 1)[0]
  }

  /**
   * What the access cookie of another session is called: the refresh cookie beside it tells. Where none does, the browser's
   * own last session could have any name; names that somebody planted tell nothing.
   */
  function foreignAccessNames(tag: string, cookieHeader: string | undefined): string[] {
    const beside = chunkedCookieValues(cookieHeader, names.refreshToken(tag))
      .map((value) => sealer.open<RefreshCookieClaims>('refresh-token', value))
      .find((opened) => opened.ok)
    if (beside !== undefined) return accessNames(tag, beside.claims.len[0])
    const isLast = readSids(cookieHeader, names).some((one) => cookieTag(one) === tag)
    return isLast ? allChunkNames(names.accessToken(tag)) : []
  }

  const clearForeign: SessionCookies['clearForeign'] = (cookieHeader, sid, answer) => {
    const sent = [...new Set(listCookieNames(cookieHeader))].map((name) => ({ name, tag: tagOf(name) }))
    // The session that a login replaces comes first: the answer has room for its access cookie.
    const tags = new Set([...readSids(cookieHeader, names).map(cookieTag), ...sent.flatMap(({ tag }) => tag ?? [])])
    if (sid !== undefined) tags.delete(cookieTag(sid))
    const foreign = [...tags].slice(0, mostForeignCleared).flatMap((tag) => [
      ...clear(accessTokenPath, foreignAccessNames(tag, cookieHeader)),
      ...clear(
        agentPath,
        sent.filter((cookie) => cookie.tag === tag).map(({ name }) => name),
      ),
    ])
    let bytes = answerBytes(answer)
    const end = foreign.findIndex((cleared) => (bytes += answerBytes([cleared])) > responseBudgetBytes)
    return foreign.slice(0, Math.min(end === -1 ? foreign.length : end, mostForeignCleared))
  }

  function lines({ claims, refresh, access, id }: Generation, { cookieHeader, shown }: CookiesBefore): string[] {
    const { sid, exp, ate } = claims
    const tag = cookieTag(sid)
    const sent = new Set(listCookieNames(cookieHeader))
    const stale = (name: string, value: string): string[] => {
      const written = writtenNames(name, value.length)
      return allChunkNames(name).filter((one) => sent.has(one) && !written.includes(one))
    }
    // The access cookie is not sent to us: what it was called is known from the refresh cookie beside it.
    const accessBefore = accessNames(tag, shown?.len[0])
    const accessNow = accessNames(tag, access?.length)
    return [
      ...(access === undefined ? [] : line(names.accessToken(tag), access, accessTokenPath, ate)),
      // Before the refresh cookie: with that in place, the ID cookie from before does not count.
      ...(id === undefined ? [] : line(names.idToken(tag), id, agentPath, exp)),
      ...line(names.refreshToken(tag), refresh, agentPath, exp),
      ...clear(agentPath, stale(names.refreshToken(tag), refresh)),
      ...clear(agentPath, id === undefined ? [] : stale(names.idToken(tag), id)),
      ...clear(
        accessTokenPath,
        accessBefore.filter((name) => !accessNow.includes(name)),
      ),
    ]
  }

  const sidLine = ({ sid, exp }: RefreshCookieClaims): string => line(names.sid, sid, '/', exp).join()

  /** @param besides What the same answer sets besides. */
  function fit(
    make: (place: 'cookie' | 'ledger' | undefined) => Generation,
    besides: (generation: Generation) => readonly string[],
    shown?: RefreshCookieClaims,
  ): Sealed {
    const excess = (generation: Generation): string | undefined =>
      overBudget(generation, [...lines(generation, { shown }), ...besides(generation)], names, options.cookies)
    let size = ''
    for (const place of places) {
      const generation = make(place)
      const over = excess(generation)
      if (over === undefined) return { fits: true, generation }
      size = over
    }
    const without = make(undefined)
    return { fits: false, size, generation: excess(without) === undefined ? without : undefined }
  }

  /** Seals access and refresh cookie: the refresh cookie knows how long the others are. */
  function sealGeneration(
    facts: SessionFacts,
    { accessToken, expiresInSeconds = options.session.accessTokenSeconds }: Tokens,
    { id, idLength, place }: { id: string | undefined; idLength: number; place: 'cookie' | 'ledger' | undefined },
  ): Generation {
    const now = epochSeconds(clock)
    const ate = Math.min(now + Math.min(expiresInSeconds, options.session.accessCookieSeconds), facts.exp)
    const { sid, sst, sub, asid, scope, acr, auth_time, claims, roles, ctx } = facts
    const held = place === 'ledger' ? holdToken(sid, accessToken, ate) : undefined
    const accessClaims: AccessCookieClaims = {
      sid,
      exp: ate,
      iat: now,
      ...(held === undefined ? { at: accessToken } : { held: held.claim }),
      sst,
      sub: identityHash(issuer, sub),
      ...(asid === undefined ? {} : { asid }),
      ...(scope === undefined ? {} : { scope }),
      ...(acr === undefined ? {} : { acr }),
      ...(auth_time === undefined ? {} : { auth_time }),
      ...(claims === undefined ? {} : { claims }),
      ...(roles === undefined ? {} : { roles }),
      ...(ctx === undefined ? {} : { ctx }),
    }
    const access = place !== undefined ? sealer.seal('access-token', accessClaims) : undefined
    const all: RefreshCookieClaims = {
      ...facts,
      k: randomBytes(32).toString('base64url'),
      ate: place !== undefined ? ate : now,
      atl: place !== undefined ? ate - now : 0,
      len: [access?.length ?? 0, idLength],
    }
    const refresh = sealer.seal('refresh-token', all)
    return { claims: { ...all, kid: sealingKid(refresh) ?? '' }, refresh, access, id, heldToken: held?.token }
  }

  /** Shows the strength and time of the authentication by which policies judge: those of the login. */
  function sealId({ sid, exp, g, acr, auth_time }: SessionFacts, { raw, claims }: IdToken): string {
    const ofLogin = { ...(acr === undefined ? {} : { acr }), ...(auth_time === undefined ? {} : { auth_time }) }
    const found = neededClaims.map((path) => [path, claimAt(claims, path)] as const)
    const policy = Object.fromEntries(found.filter(([, value]) => value !== undefined))
    const { logoutHintClaim } = options.logout
    const logoutHint = logoutHintClaim === undefined ? undefined : claimAt(claims, logoutHintClaim)
    const idClaims: IdCookieClaims = {
      sid,
      exp,
      g,
      claims: pickClaims({ ...claims, ...ofLogin }, shownClaims) ?? {},
      ...(Object.keys(policy).length > 0 ? { policy } : {}),
      ...(options.logout.idTokenHint ? { idt: raw } : {}),
      ...(typeof logoutHint === 'string' ? { lh: logoutHint } : {}),
    }
    return sealer.seal('id-token', idClaims)
  }

  /** What route policies ask of the user, beside strength and time of the authentication. */
  function routeFacts({ claims: all }: IdToken): Pick<SessionFacts, 'claims' | 'roles'> {
    const claims = pickClaims(all, options.routeClaims)
    const roles = rolesOf(all, routeRoles)
    return { ...(claims === undefined ? {} : { claims }), ...(roles.length === 0 ? {} : { roles }) }
  }

  return {
    seal({ sid, startedAt, tokens, nonce, requestedScope, context }) {
      const { claims } = tokens.idToken
      const exp = epochSeconds(clock) + options.session.absoluteSeconds
      const scope = tokens.scope ?? requestedScope
      const asid = asSessionHash(claims, issuer)
      const facts: SessionFacts = {
        sid,
        exp,
        g: 0,
        idg: 0,
        sst: startedAt,
        sub: claims.sub,
        nh: nonceHash(nonce),
        ...(scope === '' ? {} : { scope }),
        ...(tokens.refreshToken === undefined ? {} : { rt: tokens.refreshToken }),
        ...(asid === undefined ? {} : { asid }),
        ...(typeof claims.acr === 'string' ? { acr: claims.acr } : {}),
        ...(typeof claims.auth_time === 'number' ? { auth_time: claims.auth_time } : {}),
        ...routeFacts(tokens.idToken),
        ...(context === undefined ? {} : { ctx: context }),
      }
      const id = sealId(facts, tokens.idToken)
      const clearedLogin = clearCookieLine(names.login('0'.repeat(16)), '/')
      // A login may replace a session like this one. Its access cookie is deleted with the login's own answer where two of
      // them could be more than a Cookie header holds, else with the next answer that has room.
      const clearedAccess = (generation: Generation): string[] =>
        largestHeader(generation, names, options.cookies, 2) <= options.cookies.headerBudgetBytes
          ? []
          : clear(accessTokenPath, accessNames(cookieTag(sid), generation.access?.length))
      return fit(
        (place) => sealGeneration(facts, tokens, { id, idLength: id.length, place }),
        (generation) => [sidLine(generation.claims), clearedLogin, ...clearedAccess(generation)],
      )
    },

    sealSuccessor(shown, tokens) {
      const { k: _k, ate: _ate, atl: _atl, kid: _kid, scope: _scope, len, ...facts } = shown
      const { claims: _claims, roles: _roles, ...unchanged } = facts
      const { idToken, refreshToken, scope = shown.scope } = tokens
      // Who logged in, how and when stays as it was at the login (OpenID Connect Core section 12.2).
      const g = shown.g + 1
      const next: SessionFacts = {
        ...(idToken === undefined ? facts : { ...unchanged, ...routeFacts(idToken), idg: g }),
        g,
        ...(refreshToken === undefined ? {} : { rt: refreshToken }),
        ...(scope === undefined || scope === '' ? {} : { scope }),
      }
      const id = idToken === undefined ? undefined : sealId(next, idToken)
      const idLength = id?.length ?? len[1]
      return fit(
        (place) => sealGeneration(next, tokens, { id, idLength, place }),
        () => [],
        shown,
      )
    },

    openRefresh(value) {
      const opened = sealer.open<RefreshCookieClaims>('refresh-token', value)
      return opened.ok ? { ...opened.claims, kid: opened.kid } : undefined
    },

    openId(value) {
      const opened = sealer.open<IdCookieClaims>('id-token', value)
      return opened.ok ? opened.claims : undefined
    },

    lines,
    sidLine,

    clearTag(sid, cookieHeader, besides = []) {
      const tag = cookieTag(sid)
      const access = clear(accessTokenPath, allChunkNames(names.accessToken(tag)))
      const ours = [names.refreshToken(tag), names.idToken(tag)].flatMap((name) => allChunkNames(name))
      const all = [...access, ...clear(agentPath, ours)]
      if (answerBytes([...besides, ...all]) <= responseBudgetBytes) return all
      const sent = new Set(listCookieNames(cookieHeader))
      return [
        ...access,
        ...clear(
          agentPath,
          ours.filter((name) => sent.has(name)),
        ),
      ]
    },

    clearSid: () => clearCookieLine(names.sid, '/'),

    clearForeign,

    clearLeftovers(cookieHeader, answer) {
      const sids = readSids(cookieHeader, names)
      return sids.length < 2 ? clearForeign(cookieHeader, sids[0], answer) : []
    },
  }
}
