import {
  cookieNames,
  cookieTag,
  createCookieSealer,
  identityHash,
  readSessionCookie,
  systemClock,
  type CookieNames,
  type CookieSealer,
  type CookieSettings,
  type KeyRing,
  type SessionClaims,
} from '@token-handler/shared'

/** What a browser's cookies hold, as only the harness can see it: it has the agents' keys. */
export interface ShownCookies {
  readonly session: string
  readonly tag: string
  readonly generation: number
  readonly refreshToken: string
}

interface RefreshCookie extends SessionClaims {
  readonly g: number
  readonly rt?: string
}

/** Where the agents' configuration says nothing. */
const defaults: CookieSettings = {
  prefix: 'th',
  accessTokenPath: '/api',
  agentPath: '/oauth-agent',
  persistent: true,
  headerBudgetBytes: 7168,
  responseBudgetBytes: 3328,
}

/** Looks into sealed cookies. */
export class CookieReader {
  readonly #names: CookieNames
  readonly #sealer: CookieSealer
  readonly #issuer: string
  readonly #prefix: string

  constructor(keys: KeyRing, issuer: string) {
    this.#names = cookieNames(defaults)
    this.#sealer = createCookieSealer(() => keys, systemClock)
    this.#issuer = issuer
    this.#prefix = this.#names.refreshToken('')
  }

  read(cookieHeader: string): ShownCookies | undefined {
    const cookie = readSessionCookie<RefreshCookie>(cookieHeader, 'refresh-token', this.#names.refreshToken, {
      names: this.#names,
      sealer: this.#sealer,
    })
    if (!cookie.ok) return undefined
    const { sid, g, rt } = cookie.claims
    return { session: identityHash(this.#issuer, sid), tag: cookieTag(sid), generation: g, refreshToken: rt ?? '' }
  }

  /** Tags of the sessions whose refresh cookie an answer deletes without setting another one. */
  deletedTags(setCookies: readonly string[]): string[] {
    return setCookies
      .map((line) => line.split(';', 1)[0]?.split('=') ?? [])
      .filter(([name = '', value]) => name.startsWith(this.#prefix) && !name.includes('.') && value === '')
      .map(([name = '']) => name.slice(this.#prefix.length))
      .filter((tag) => !this.gives(setCookies, tag))
  }

  /** Whether an answer gives a session new cookies. */
  gives(setCookies: readonly string[], tag: string): boolean {
    return setCookies.some((line) => new RegExp(`^${this.#prefix}${tag}(?:\\.0)?=[^;]`).test(line))
  }
}
