import type { RateLimit } from '../rate-limit.ts'

type ClaimValue = string | number | boolean

/** A named role: whoever has one of the values in the claim has it. */
export interface RoleOptions {
  readonly name: string
  /** ID-token claim; dots lead into nested ones. */
  readonly claim: string
  readonly values: readonly ClaimValue[]
}

/** What a session must have to get a capability; empty lists ask for nothing. */
export interface CapabilityRequirements {
  readonly name: string
  readonly scopes: readonly string[]
  /** One of them suffices. */
  readonly roles: readonly string[]
  readonly claims: Readonly<Record<string, readonly ClaimValue[]>>
  readonly acrValues: readonly string[]
  readonly maxAgeSeconds: number | undefined
  /** IP addresses and CIDR blocks. */
  readonly networks: readonly string[]
  /** Of one user. */
  readonly rateLimit: RateLimit
  readonly ttlSeconds: number
}

interface StorageOptions {
  readonly bucket: string
  /** Where browsers reach the storage; AWS unless given. */
  readonly endpoint: string | undefined
  readonly region: string
  /** Longest wait for credentials. */
  readonly timeoutSeconds: number
}

export interface PresignedOptions extends CapabilityRequirements, StorageOptions {
  readonly kind: 's3-presigned'
  readonly operation: 'PUT' | 'GET' | 'POST'
  /** Template of the object's key. */
  readonly key: string
  /** Placeholders of the template that the SPA fills in; those that are not in it count for nothing. */
  readonly inputs: readonly string[]
  readonly contentTypes: readonly string[]
  readonly maxBytes: number | undefined
  readonly checksumRequired: boolean
  readonly forcePathStyle: boolean
}

export interface StsOptions extends CapabilityRequirements, StorageOptions {
  readonly kind: 's3-sts'
  readonly roleArn: string
  /** Template of the keys' prefix. */
  readonly prefix: string
  readonly actions: readonly string[]
  /** Bind the credentials to the client's address. */
  readonly sourceIp: boolean
  readonly stsEndpoint: string | undefined
}

export interface JwtOptions extends CapabilityRequirements {
  readonly kind: 'jwt'
  readonly audience: string
  readonly includeClaims: readonly string[]
  readonly includeScopes: readonly string[]
  /** Makes `sub` a pseudonym for the audience. */
  readonly pairwiseSecret: string | undefined
}

export type CapabilityOptions = PresignedOptions | StsOptions | JwtOptions

export interface CapabilitySigningOptions {
  readonly issuer: string
  /** A private JWK as JSON, or PKCS#8 PEM. */
  readonly privateKey: string
  readonly algorithm: 'ES256' | 'EdDSA'
  readonly kid: string | undefined
  /** Published and not signed with: JWK as JSON, or PEM. */
  readonly otherKeys: readonly string[]
}
