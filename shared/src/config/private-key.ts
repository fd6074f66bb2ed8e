import { createPrivateKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto'

/** Smallest RSA modulus (RFC 7518 section 3.3). */
const leastRsaBits = 2048
const curves: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1' }

/**
 * What is wrong with a private key for client assertions, or `undefined`.
 * @param text A JWK as JSON, or PKCS#8 PEM. Nothing of it is in the answer.
 * @param algorithm Signature algorithm that it is for (RFC 7518 section 3.1, RFC 8037).
 */
export function privateKeyProblem(text: string, algorithm: string): string | undefined {
  const key = readKey(text)
  if (key === undefined) return 'must be a private key: a JWK as JSON, or PKCS#8 PEM'
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (algorithm in curves) return details?.namedCurve === curves[algorithm] ? undefined : `is no key for ${algorithm}`
  if (algorithm.startsWith('Ed')) return type === 'ed25519' ? undefined : `is no key for ${algorithm}`
  if (type !== 'rsa') return `is no key for ${algorithm}`
  return (details?.modulusLength ?? 0) >= leastRsaBits ? undefined : `must have at least ${leastRsaBits} bits`
}

function readKey(text: string): KeyObject | undefined {
  try {
    if (text.trimStart().startsWith('{'))
      return createPrivateKey({ key: JSON.parse(text) as JsonWebKeyInput['key'], format: 'jwk' })
    return text.includes('-----BEGIN PRIVATE KEY-----') ? createPrivateKey(text) : undefined
  } catch {
    return undefined
  }
}
