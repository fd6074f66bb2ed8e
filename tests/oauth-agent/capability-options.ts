import { generateKeyPairSync } from 'node:crypto'
import type { CapabilitySigningOptions, JwtOptions, PresignedOptions, StsOptions } from '@token-handler/oauth-agent'

const requirements = {
  scopes: [],
  roles: [],
  claims: {},
  acrValues: [],
  maxAgeSeconds: undefined,
  networks: [],
  rateLimit: { requests: 1000, windowSeconds: 60 },
  ttlSeconds: 300,
} as const

/** A token for a database, with nothing in it but who it is. */
export const jwtCapability: JwtOptions = {
  ...requirements,
  name: 'realtime',
  kind: 'jwt',
  audience: 'https://realtime.example.test',
  includeClaims: [],
  includeScopes: [],
  pairwiseSecret: undefined,
}

const storage = { bucket: 'files', region: 'us-east-1', timeoutSeconds: 5 } as const

export function presignedCapability(
  operation: PresignedOptions['operation'],
  change: Partial<PresignedOptions>,
): PresignedOptions {
  return {
    ...requirements,
    ...storage,
    name: operation.toLowerCase(),
    kind: 's3-presigned',
    operation,
    endpoint: undefined,
    key: 'uploads/{sub}/{file}',
    inputs: ['file'],
    contentTypes: ['text/plain', 'image/*'],
    maxBytes: 1000,
    checksumRequired: false,
    forcePathStyle: true,
    ...change,
  }
}

export function stsCapability(change: Partial<StsOptions>): StsOptions {
  return {
    ...requirements,
    ...storage,
    name: 'sts',
    kind: 's3-sts',
    endpoint: undefined,
    roleArn: 'arn:aws:iam::123456789012:role/files',
    prefix: 'uploads/{sub}/',
    actions: ['GetObject', 'PutObject', 'ListBucket'],
    sourceIp: false,
    stsEndpoint: undefined,
    ...change,
  }
}

export function generateCapabilitySigning(change: Partial<CapabilitySigningOptions> = {}): CapabilitySigningOptions {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    issuer: 'https://api.example.test/oauth-agent',
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    algorithm: 'ES256',
    kid: undefined,
    otherKeys: [],
    ...change,
  }
}
