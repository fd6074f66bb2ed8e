import { z } from 'zod'
import { httpUrl, rateLimitFields, roleName, scopeToken, seconds } from './values.ts'

/** Longest life of a credential (seconds). */
const longestTtl = 900

const claimValues = z.array(z.union([z.string(), z.number(), z.boolean()])).min(1)

export const roles = z
  .array(
    z.strictObject({
      name: roleName.describe('Name that capabilities and routes ask for; several entries of one name add up.'),
      claim: z
        .string()
        .min(1)
        .max(256)
        .describe('ID-token claim; dots lead into nested ones, such as realm_access.roles.'),
      values: claimValues.describe('Values of the claim, or members of its list, that give the role.'),
    }),
  )
  .default([])
  .describe('Named roles, by claims of the ID token.')

const network = z.union(
  [z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()],
  'must be an address or a network such as 10.0.0.0/8',
)

const requirements = {
  name: z
    .string()
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/, 'must be 1 to 64 lower-case letters, digits or dashes')
    .describe('Last part of its path: POST capabilities/{name}.'),
  scopes: z.array(scopeToken).default([]).describe('Scopes the session must have been granted.'),
  roles: z.array(roleName).default([]).describe('Roles, one of which the user must have.'),
  claims: z.record(z.string(), claimValues).default({}).describe('ID-token claims and their accepted values.'),
  acr_values: z.array(scopeToken).default([]).describe('Accepted authentication contexts.'),
  max_age: z.int().min(1).optional().describe('Longest time in seconds since the user authenticated.'),
  networks: z.array(network).default([]).describe('Addresses and networks that the client must come from, if any.'),
  rate_limit: z
    .strictObject({
      requests: rateLimitFields.requests.default(60),
      window_seconds: rateLimitFields.window_seconds,
    })
    .prefault({})
    .describe('Of one user; more is answered 429. Each process counts for itself.'),
}

const ttl = seconds(300, 10, longestTtl).describe('Life of what is issued; never longer than the session.')

const bucketName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket')
  .describe('The one bucket.')

const region = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/, 'must be the name of a region')
  .describe('Region; servers that have none take us-east-1.')

const timeout = seconds(5, 1, 30).describe('Longest wait for credentials.')

const template = (pattern: RegExp, error: string) => z.string().max(512).regex(pattern, error)
const segment = String.raw`(?:[A-Za-z0-9._~-]|\{[A-Za-z0-9_.:-]{1,128}\})+`

const presigned = z.strictObject({
  ...requirements,
  kind: z.literal('s3-presigned').describe('A URL, or a form, for one object of a storage that speaks S3.'),
  operation: z.enum(['PUT', 'GET', 'POST']).describe('What the URL allows; POST is a form with a policy.'),
  bucket: bucketName,
  key: template(
    new RegExp(`^${segment}(?:/${segment})*$`),
    'must be segments of letters, digits, . _ ~ - and {placeholders}, with / between them',
  ).describe('Key of the object. Placeholders are ID-token claims, or what inputs lists.'),
  inputs: z
    .array(z.string().regex(/^[a-z][a-z0-9_]{0,31}$/, 'must be a name in lower case'))
    .default(['file'])
    .describe('Placeholders of the key that the SPA fills in.'),
  content_types: z
    .array(z.string().regex(/^[a-z0-9.+-]+\/(?:\*|[a-z0-9.+-]+)$/, 'must be a media type such as image/png or image/*'))
    .default([])
    .describe('Media types that may be uploaded; uploads need at least one.'),
  max_bytes: z
    .int()
    .min(1)
    .max(5 * 1024 ** 3)
    .optional()
    .describe('Largest upload; uploads need it.'),
  checksum_required: z.boolean().default(false).describe('Uploads must name their SHA-256, which the storage checks.'),
  ttl_seconds: ttl,
  endpoint: httpUrl.optional().describe('Where browsers reach the storage; AWS unless given.'),
  region,
  force_path_style: z.boolean().default(false).describe('The bucket stands in the path and not in the host name.'),
  timeout_seconds: timeout,
})

const sts = z.strictObject({
  ...requirements,
  kind: z.literal('s3-sts').describe('Temporary credentials of AssumeRole, for the keys below one prefix.'),
  role_arn: z
    .string()
    .regex(/^arn:[a-z-]+:iam::[^\s]{1,256}$/, 'must be the ARN of a role')
    .describe('Role that is assumed; what it may do is narrowed to the prefix.'),
  bucket: bucketName,
  prefix: template(
    new RegExp(`^(?:${segment}/)+$`),
    'must be segments of letters, digits, . _ ~ - and {placeholders}, each with a / after it',
  ).describe('Prefix of the keys. Placeholders are ID-token claims.'),
  actions: z
    .array(z.enum(['GetObject', 'PutObject', 'DeleteObject', 'AbortMultipartUpload', 'ListBucket']))
    .min(1)
    .describe('What may be done below the prefix.'),
  source_ip: z.boolean().default(false).describe("Good from the client's present address only."),
  ttl_seconds: ttl,
  endpoint: httpUrl.optional().describe('Where browsers reach the storage; AWS unless given.'),
  sts_endpoint: httpUrl.optional().describe('Where this server reaches STS; AWS unless given.'),
  region,
  timeout_seconds: timeout,
})

const jwt = z.strictObject({
  ...requirements,
  kind: z.literal('jwt').describe('A short JWT, signed with capability_signing.'),
  audience: z.string().min(1).max(512).describe('Who the token is for.'),
  include_claims: z
    .array(z.string().min(1).max(256))
    .default([])
    .describe('ID-token claims that go into the token, as far as the user has them.'),
  include_scopes: z.array(scopeToken).default([]).describe('Granted scopes that go into the token; none unless given.'),
  pairwise_secret: z
    .string()
    .min(32)
    .optional()
    .describe('sub becomes a pseudonym for this audience, keyed with this. Use ${ENV_VARIABLE} or file:PATH.'),
  ttl_seconds: ttl,
})

export const capabilities = z
  .array(z.discriminatedUnion('kind', [presigned, sts, jwt]))
  .default([])
  .describe('Temporary credentials for what is not behind the proxy.')

export const capabilitySigning = z
  .strictObject({
    issuer: httpUrl.optional().describe("iss of the tokens; the agent's public URL unless given."),
    private_key: z.string().min(1).describe('Signs: a JWK as JSON, or PKCS#8 PEM. Use ${ENV_VARIABLE} or file:PATH.'),
    algorithm: z.enum(['ES256', 'EdDSA']).default('ES256').describe('Signature algorithm.'),
    kid: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits or . _ -')
      .optional()
      .describe('Key id; the thumbprint of the key (RFC 7638) unless given.'),
    other_keys: z
      .array(z.string().min(1))
      .max(8)
      .default([])
      .describe('Keys of the time before or after a rotation (JWK or PEM), published and not signed with.'),
  })
  .describe('Key of the capabilities of the kind jwt.')
