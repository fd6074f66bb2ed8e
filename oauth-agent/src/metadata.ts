/** The members of authorization server metadata (RFC 8414 section 2) that this client uses. */
export interface Metadata {
  readonly issuer: string
  readonly authorization_endpoint?: string | undefined
  readonly token_endpoint?: string | undefined
  readonly jwks_uri?: string | undefined
  readonly end_session_endpoint?: string | undefined
  readonly revocation_endpoint?: string | undefined
  readonly pushed_authorization_request_endpoint?: string | undefined
  readonly require_pushed_authorization_requests?: boolean | undefined
  readonly authorization_response_iss_parameter_supported?: boolean | undefined
}

const endpoints = [
  'authorization_endpoint',
  'token_endpoint',
  'jwks_uri',
  'end_session_endpoint',
  'revocation_endpoint',
  'pushed_authorization_request_endpoint',
] as const
const required: readonly string[] = ['authorization_endpoint', 'token_endpoint', 'jwks_uri']

/**
 * Says what is wrong with metadata, or nothing. One bad endpoint refuses the whole: half of it would be a client that
 * works until logout.
 * @param known The metadata in use. What replaces it may not move an endpoint to another host: whoever can change
 * metadata for a minute would receive codes, refresh tokens and the client's secret.
 */
export function metadataProblem(metadata: Metadata, issuer: string, known?: Metadata): string | undefined {
  if (metadata.issuer !== issuer) return 'issuer differs from the configured one'
  for (const name of endpoints) {
    const value: unknown = metadata[name]
    if (value === undefined) {
      if (required.includes(name)) return `${name} is missing`
      continue
    }
    const problem = endpointProblem(value, new URL(issuer))
    if (problem !== undefined) return `${name} ${problem}`
    const before = known?.[name]
    if (before !== undefined && new URL(before).origin !== new URL(value as string).origin) {
      return `${name} moved to another host`
    }
  }
  return undefined
}

function endpointProblem(value: unknown, issuer: URL): string | undefined {
  if (typeof value !== 'string' || !URL.canParse(value)) return 'is not a URL'
  const url = new URL(value)
  if (url.username !== '' || url.password !== '') return 'carries credentials'
  if (value.includes('#')) return 'has a fragment'
  const isPlainLoopback = url.protocol === 'http:' && isLoopback(url.hostname) && isLoopbackIssuer(issuer)
  if (url.protocol !== 'https:' && !isPlainLoopback) return 'is not https'
  // An address is where metadata could point at the inside of our network.
  const isAddress = isLoopback(url.hostname) || /^\[|^[\d.]+$/.test(url.hostname)
  const isIssuersOwn = url.hostname === issuer.hostname || (isLoopback(url.hostname) && isLoopback(issuer.hostname))
  return isAddress && !isIssuersOwn ? 'is an address that the issuer does not have' : undefined
}

/** Plain http is for development on one machine only. */
export function isLoopbackIssuer(issuer: URL): boolean {
  return issuer.protocol === 'http:' && isLoopback(issuer.hostname)
}

function isLoopback(hostname: string): boolean {
  return /^(?:localhost|.+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}

/**
 * New metadata with the protections that were once seen: a server that drops the flag would switch the defence off, and
 * without an endpoint for revocation, tokens of ended sessions would stay alive.
 */
export function keepProtections<M extends Metadata>(metadata: M, known: Metadata | undefined): M {
  return {
    ...metadata,
    authorization_response_iss_parameter_supported:
      metadata.authorization_response_iss_parameter_supported === true ||
      known?.authorization_response_iss_parameter_supported === true,
    require_pushed_authorization_requests:
      metadata.require_pushed_authorization_requests === true || known?.require_pushed_authorization_requests === true,
    revocation_endpoint: metadata.revocation_endpoint ?? known?.revocation_endpoint,
  }
}
