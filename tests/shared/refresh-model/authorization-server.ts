/**
 * What an authorization server does with refresh tokens, as far as the protocol can see it. `strict` kills the family when
 * a used one comes again (RFC 9700 section 4.14.2), `grace` answers the last used one again, `static` never rotates.
 */
export type Rotation = 'strict' | 'grace' | 'static'

export class ModelAuthorizationServer {
  readonly rotation: Rotation
  #live = 0
  #previous = -1
  #isDead = false

  constructor(rotation: Rotation) {
    this.rotation = rotation
  }

  /** A refresh request: the next refresh token, or `undefined` for `invalid_grant`. */
  refresh(token: number): number | undefined {
    if (this.#isDead) return undefined
    if (this.rotation === 'static') return token
    if (token === this.#live) {
      this.#previous = token
      this.#live += 1
      return this.#live
    }
    if (this.rotation === 'grace' && token === this.#previous) return this.#live
    this.#isDead = true
    return undefined
  }

  /** RFC 7009: only the live token stands for the grant. */
  revoke(token: number): void {
    if (token === this.#live || this.rotation === 'static') this.#isDead = true
  }

  get isGrantAlive(): boolean {
    return !this.#isDead
  }
}
