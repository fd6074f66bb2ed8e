import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { JWK } from 'jose'
import type { CapabilitySigningOptions } from './options.ts'

export interface CapabilitySigner {
  readonly issuer: string
  readonly algorithm: 'ES256' | 'EdDSA'
  readonly kid: string
  readonly key: KeyObject
  /** JWK Set (RFC 7517 section 5), public parts only. */
  readonly keySet: { readonly keys: readonly JWK[] }
}

/** @throws TypeError when a key is none, or none for ES256 or EdDSA. */
export function createCapabilitySigner(options: CapabilitySigningOptions): CapabilitySigner {
  const { issuer, algorithm, privateKey, otherKeys } = options
  const key = readKey(privateKey, createPrivateKey)
  const own = publicJwk(key, options.kid ?? kidOf(privateKey))
  if (own['alg'] !== algorithm) throw new TypeError('the private key does not fit the algorithm')
  const others = otherKeys.map((text) => publicJwk(readKey(text, createPublicKey), kidOf(text)))
  const keys = [own, ...others.filter(({ kid }) => kid !== own['kid'])]
  return { issuer, algorithm, kid: String(own['kid']), key, keySet: { keys } }
}

function readKey(text: string, create: (input: never) => KeyObject): KeyObject {
  try {
    const isJwk = text.trimStart().startsWith('{')
    return create((isJwk ? { key: JSON.parse(text) as JWK, format: 'jwk' } : text) as never)
  } catch {
    // The cause would quote the key.
    throw new TypeError('not a key: neither JWK nor PEM')
  }
}

function kidOf(text: string): string | undefined {
  if (!text.trimStart().startsWith('{')) return undefined
  const { kid } = JSON.parse(text) as JWK
  return typeof kid === 'string' ? kid : undefined
}

/** Only named members: what is private cannot get in. */
function publicJwk(key: KeyObject, kid: string | undefined): JWK {
  const { kty, crv, x, y } = (key.type === 'private' ? createPublicKey(key as never) : key).export({ format: 'jwk' })
  if (kty === 'EC' && crv === 'P-256') {
    return { kty, crv, x: x ?? '', y: y ?? '', kid: kid ?? thumbprint({ crv, kty, x, y }), use: 'sig', alg: 'ES256' }
  }
  if (kty === 'OKP' && crv === 'Ed25519') {
    return { kty, crv, x: x ?? '', kid: kid ?? thumbprint({ crv, kty, x }), use: 'sig', alg: 'EdDSA' }
  }
  throw new TypeError('a key is neither P-256 nor Ed25519')
}

/** RFC 7638 section 3: the members in the order of their names. */
function thumbprint(members: object): string {
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}
