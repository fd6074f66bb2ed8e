import type { CapabilityOptions, OAuthAgentOptions } from '@token-handler/oauth-agent'
import type { Config } from '@token-handler/shared'

type Configured = Config['capabilities'][number]

/** What the agent is told of the broker. */
export function capabilityOptionsOf(
  config: Config,
): Pick<OAuthAgentOptions, 'capabilities' | 'roles' | 'capabilitySigning'> {
  const { capability_signing: signing, capabilities, roles, public_url, cookies } = config
  return {
    roles,
    capabilities: capabilities.map(toOptions),
    capabilitySigning: signing && {
      issuer: signing.issuer ?? `${public_url}${cookies.agent_path}`,
      privateKey: signing.private_key,
      algorithm: signing.algorithm,
      kid: signing.kid,
      otherKeys: signing.other_keys,
    },
  }
}

function toOptions(configured: Configured): CapabilityOptions {
  const { name, scopes, roles, claims, networks, acr_values: acrValues, max_age: maxAgeSeconds } = configured
  const { requests, window_seconds: windowSeconds } = configured.rate_limit
  const common = {
    name,
    scopes,
    roles,
    claims,
    networks,
    acrValues,
    maxAgeSeconds,
    rateLimit: { requests, windowSeconds },
    ttlSeconds: configured.ttl_seconds,
  }
  if (configured.kind === 'jwt') {
    const { kind, audience, include_claims: includeClaims, include_scopes: includeScopes } = configured
    return { ...common, kind, audience, includeClaims, includeScopes, pairwiseSecret: configured.pairwise_secret }
  }
  const { bucket, endpoint, region, timeout_seconds: timeoutSeconds } = configured
  const storage = { ...common, bucket, endpoint, region, timeoutSeconds }
  if (configured.kind === 's3-sts') {
    const { kind, role_arn: roleArn, prefix, actions, source_ip: sourceIp, sts_endpoint: stsEndpoint } = configured
    return { ...storage, kind, roleArn, prefix, actions, sourceIp, stsEndpoint }
  }
  const { kind, operation, key, inputs, content_types: contentTypes, max_bytes: maxBytes } = configured
  const { checksum_required: checksumRequired, force_path_style: forcePathStyle } = configured
  return { ...storage, kind, operation, key, inputs, contentTypes, maxBytes, checksumRequired, forcePathStyle }
}
