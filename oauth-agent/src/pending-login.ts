import { createHash, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import {
  clearCookieLine,
  cookieValues,
  epochSeconds,
  listCookieNames,
  maxAcrValuesLength,
  setCookieLines,
  type Clock,
  type CookieNames,
  type CookieSealer,
  type SealedClaims,
} from '@token-handler/shared'
import type { PendingAuthorization } from './authorization-server.ts'

/** A login that was started in this browser and waits for its authorization response. */
export interface PendingLogin extends PendingAuthorization {
  /** Part of the cookie's name, made from `state`. */
  readonly id: string
  /** Seals the outcome for a repeated login end. */
  readonly key: KeyObject
  /** The scope asked for in place of the configured one; empty when it was too long to be remembered. */
  readonly scope: string | undefined
}

/** The pending-login cookie. Everything secret of a login is derived from one seed, which keeps the cookie small. */
interface LoginClaims extends SealedClaims {
  /** 256 random bits. */
  readonly s: string
  /** Wanted authentication contexts, space-separated. */
  readonly acr?: string
  /** Wanted max_age in seconds. */
  readonly age?: number
  /** Scope asked for, unless the configured one. */
  readonly sc?: string
}

export interface PendingLogins {
  /** Starts a login: its secrets, and the Set-Cookie lines that keep them, the oldest of too many others cleared. */
  begin(cookieHeader: string | undefined, wanted: WantedLogin): { login: PendingLogin; setCookies: string[] }
  /** The login that `state` belongs to, if this browser started it. */
  find(cookieHeader: string | undefined, state: string): PendingLogin | undefined
  clear(login: PendingLogin): string
  /** Clears every pending login of this browser. */
  clearAll(cookieHeader: string | undefined): string[]
}

export interface WantedLogin {
  readonly acrValues?: string | undefined
  readonly maxAgeSeconds?: number | undefined
  /** Only when it is not the configured one. */
  readonly scope?: string | undefined
}

export const pendingLoginSeconds = 600
/** Pending logins that a browser keeps: enough for a few tabs, too few to fill a Cookie header. */
export const maxPendingLogins = 3
/** Largest cookie value of a pending login. */
export const maxPendingLoginBytes = 512
const mostCleared = 20

export function createPendingLogins({
  names,
  sealer,
  clock,
}: {
  readonly names: CookieNames
  readonly sealer: CookieSealer
  readonly clock: Clock
}): PendingLogins {
  function open(value: string): PendingLogin | undefined {
    const opened = sealer.open<LoginClaims>('login', value)
    return opened.ok ? toLogin(opened.claims) : undefined
  }

  function openAll(cookieHeader: string | undefined): { name: string; startedAt: number }[] {
    return loginCookieNames(cookieHeader).map((name) => {
      const logins = cookieValues(cookieHeader, name).map((value) => open(value)?.startedAt ?? 0)
      return { name, startedAt: Math.max(0, ...logins) }
    })
  }

  function loginCookieNames(cookieHeader: string | undefined): string[] {
    return [...new Set(listCookieNames(cookieHeader))].filter((name) => name.startsWith(names.loginPrefix))
  }

  return {
    begin(cookieHeader, { acrValues = '', maxAgeSeconds, scope }) {
      const isScopeKept = acrValues.length + (scope ?? '').length <= maxAcrValuesLength
      const claims: LoginClaims = {
        s: randomBytes(32).toString('base64url'),
        exp: epochSeconds(clock) + pendingLoginSeconds,
        ...(acrValues === '' ? {} : { acr: acrValues }),
        ...(maxAgeSeconds === undefined ? {} : { age: maxAgeSeconds }),
        ...(scope === undefined ? {} : { sc: isScopeKept ? scope : '' }),
      }
      const login = toLogin(claims)
      const value = sealer.seal('login', claims)
      if (value.length > maxPendingLoginBytes) throw new Error('the pending-login cookie is too large')
      const cookie = { name: names.login(login.id), value, path: '/', maxAgeSeconds: pendingLoginSeconds }
      const evicted = openAll(cookieHeader)
        .toSorted((a, b) => b.startedAt - a.startedAt)
        .slice(maxPendingLogins - 1, maxPendingLogins - 1 + mostCleared)
      return {
        login,
        setCookies: [...(setCookieLines(cookie) ?? []), ...evicted.map(({ name }) => clearCookieLine(name, '/'))],
      }
    },

    find(cookieHeader, state) {
      return cookieValues(cookieHeader, names.login(loginId(state)))
        .map((value) => open(value))
        .find((login) => login?.state === state)
    },

    clear: ({ id }) => clearCookieLine(names.login(id), '/'),

    clearAll: (cookieHeader) =>
      loginCookieNames(cookieHeader)
        .slice(0, mostCleared)
        .map((name) => clearCookieLine(name, '/')),
  }
}

function toLogin({ s, exp, acr, age, sc }: LoginClaims): PendingLogin {
  const seed = Buffer.from(s, 'base64url')
  const derive = (label: string): Buffer => Buffer.from(hkdfSync('sha256', seed, '', `pending login ${label}`, 32))
  const state = derive('state').toString('base64url')
  return {
    id: loginId(state),
    state,
    nonce: derive('nonce').toString('base64url'),
    codeVerifier: derive('code verifier').toString('base64url'),
    key: createSecretKey(derive('outcome')),
    startedAt: exp - pendingLoginSeconds,
    acrValues: acr?.split(' '),
    maxAgeSeconds: age,
    scope: sc,
  }
}

/** 96 bits of the state's hash: names the cookie without giving the state away. */
function loginId(state: string): string {
  return createHash('sha256').update(state).digest('base64url').slice(0, 16)
}
