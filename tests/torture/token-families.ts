import { randomBytes } from 'node:crypto'

export const rotations = ['strict', 'grace', 'static'] as const
/**
 * What an authorization server does with a refresh token that is used a second time (RFC 9700 section 4.14.2): `strict`
 * ends the whole family at once, `grace` tolerates it for a while, `static` never gives out another one.
 */
export type Rotation = (typeof rotations)[number]

/** All refresh tokens that descend from one login. */
export interface TokenFamily {
  readonly subject: string
  /** Why no token of it works any more. */
  death: { readonly cause: 'reuse' | 'revoked'; readonly token: RefreshToken; readonly at: number } | undefined
}

export interface RefreshToken {
  readonly value: string
  readonly family: TokenFamily
  /** Rotations since the login: the generation of the cookie that holds it. */
  readonly depth: number
  firstUsedAt: number | undefined
}

export type Use = { readonly outcome: 'granted'; readonly next: RefreshToken } | { readonly outcome: 'refused' }

/** The rules of refresh tokens, and nothing else of an authorization server. */
export class TokenFamilies {
  readonly #rotation: Rotation
  readonly #graceMs: number
  readonly #tokens = new Map<string, RefreshToken>()

  /** @param graceMs With `grace`, how long a used refresh token still works. */
  constructor(rotation: Rotation, graceMs: number) {
    this.#rotation = rotation
    this.#graceMs = graceMs
  }

  /** The first refresh token of a login. */
  open(subject: string): RefreshToken {
    return this.#issue({ subject, death: undefined }, 0)
  }

  find(value: string): RefreshToken | undefined {
    return this.#tokens.get(value)
  }

  use(token: RefreshToken, at: number): Use {
    const { family } = token
    if (family.death !== undefined) return { outcome: 'refused' }
    const isAgain = token.firstUsedAt !== undefined
    token.firstUsedAt ??= at
    if (this.#rotation === 'static') return { outcome: 'granted', next: token }
    if (isAgain && (this.#rotation === 'strict' || at - token.firstUsedAt > this.#graceMs)) {
      family.death = { cause: 'reuse', token, at }
      return { outcome: 'refused' }
    }
    return { outcome: 'granted', next: this.#issue(family, token.depth + 1) }
  }

  /**
   * RFC 7009 section 2.1. A token that was used already is no token any more, and is answered like any that is not known:
   * whoever ends a session has to know the newest one.
   */
  revoke(token: RefreshToken, at: number): void {
    const isSpent = this.#rotation !== 'static' && token.firstUsedAt !== undefined
    if (!isSpent) token.family.death ??= { cause: 'revoked', token, at }
  }

  #issue(family: TokenFamily, depth: number): RefreshToken {
    const token = { value: randomBytes(24).toString('base64url'), family, depth, firstUsedAt: undefined }
    this.#tokens.set(token.value, token)
    return token
  }
}
