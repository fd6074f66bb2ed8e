import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWK } from 'jose'
import {
  createClients,
  generateSigningKey,
  type ClientOptions,
  type ClientRegistration,
  type Clients,
} from './clients.ts'
import { buildConfiguration } from './configuration.ts'
import { createInteractions, isInteraction } from './interactions.ts'
import { logProblems, type ProblemLogger } from './problems.ts'
import { oidcProvider, type Provider } from './provider.ts'
import { recordBackChannel, type BackChannelRequest, type IssuedTokens } from './recorder.ts'
import { createStore, type Store } from './store.ts'

/** Somebody who can sign in. `claims.sub` is the subject; default: the login. */
export interface User {
  login: string
  password: string
  claims: {
    sub?: string
    name?: string
    preferred_username?: string
    email?: string
    email_verified?: boolean
    picture?: string
  }
}

/** How the server is started. */
export interface AuthorizationServerOptions {
  /** Default `127.0.0.1`. */
  host?: string
  /** Default 0: a free one. */
  port?: number
  /** Default `http://<host>:<port>`. */
  issuer?: string
  /** Both clients are registered with these. */
  clients: ClientOptions
  /** Audience (and resource indicator, RFC 8707) of the access tokens: an absolute URI. */
  apiAudience: string
  /** Default 300. */
  accessTokenLifetimeSeconds?: number
  /** Every refresh gives a new refresh token, and using an old one again ends the grant. Default true. */
  rotateRefreshTokens?: boolean
  /**
   * All logins of one browser session share one grant, so that revoking the refresh token of one login ends the others.
   * Default false: every login has a grant of its own.
   */
  shareGrants?: boolean
  /** Default: `demo` with the password `demo`. */
  users?: readonly User[]
  /** Hears what went wrong, in more detail than the HTTP answers say. Default: nobody. */
  logger?: ProblemLogger
}

/** A running server. */
export interface AuthorizationServer {
  issuer: string
  clients: Clients
  /** The oidc-provider instance. */
  provider: Provider
  /** The listener, so that it can be taken away for a while and come back with all that the server knows. */
  server: Server
  /** The direct calls of the clients so far, oldest first. */
  requests: BackChannelRequest[]
  /** The tokens handed out so far, oldest first. */
  issued: IssuedTokens[]
  /** Stops at once; open connections are cut. */
  close(): Promise<void>
}

export const DEMO_USER: User = {
  login: 'demo',
  password: 'demo',
  claims: { name: 'Demo User', preferred_username: 'demo', email: 'demo@example.com', email_verified: true },
}

/**
 * Starts an OpenID Connect provider for the demo and for tests: authorization code flow with PKCE (S256, always), JWT
 * access tokens (RFC 9068), PAR, revocation, introspection, RP-initiated and back-channel logout. Keys, and client secrets
 * unless given, are new at every start; nothing is kept after the end.
 * @throws The listen error (`EADDRINUSE`, …) when the address is not free.
 */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const { host = '127.0.0.1', port = 0 } = options
  const { clients, registrations } = await createClients(options.clients)
  const signingKey = await generateSigningKey()
  // The issuer carries the port, so the provider is made after listening; who comes in between waits.
  const ready = Promise.withResolvers<RequestListener>()
  const server = createServer((req, res) => void ready.promise.then((answer) => answer(req, res)))
  await listen(server, host, port)
  try {
    const issuer = options.issuer ?? `http://${host}:${(server.address() as AddressInfo).port}`
    const store = createStore()
    const provider = createProvider(issuer, options, store, signingKey.privateJwk)
    await register(provider, store, registrations)
    const recorded = recordBackChannel(provider)
    ready.resolve(route(provider, usersOf(options), options.logger))
    return { issuer, clients, provider, server, ...recorded, close: () => close(server) }
  } catch (error) {
    await close(server)
    throw error
  }
}

function createProvider(issuer: string, options: AuthorizationServerOptions, store: Store, signingKey: JWK): Provider {
  const configuration = buildConfiguration({
    signingKey,
    store,
    users: usersOf(options),
    apiAudience: options.apiAudience,
    accessTokenLifetimeSeconds: options.accessTokenLifetimeSeconds ?? 300,
    rotateRefreshTokens: options.rotateRefreshTokens ?? true,
    shareGrants: options.shareGrants ?? false,
  })
  const provider = new oidcProvider.Provider(issuer, configuration)
  // Behind a TLS terminator the scheme of its own URLs comes from X-Forwarded-Proto.
  provider.proxy = issuer.startsWith('https:')
  // ID tokens name the session even for a client without back-channel logout.
  provider.Client.prototype.includeSid = () => true
  provider.on('session.destroyed', (session) => store.endSession(session.uid))
  logProblems(provider, options.logger)
  return provider
}

function usersOf({ users = [DEMO_USER] }: AuthorizationServerOptions): readonly User[] {
  return users
}

/**
 * Through the store: oidc-provider clones the clients of its configuration, and refuses a clone's JWK Set where
 * `structuredClone` belongs to another realm, as in test runners.
 */
async function register(provider: Provider, store: Store, registrations: readonly ClientRegistration[]): Promise<void> {
  const clients = store.adapter('Client')
  for (const registration of registrations) {
    await clients.upsert(registration.client_id, registration)
    // Looked up at once, so that wrong metadata stops the start and not the first login.
    await provider.Client.find(registration.client_id)
  }
}

function route(provider: Provider, users: readonly User[], logger: ProblemLogger | undefined): RequestListener {
  const interactions = createInteractions(provider, users)
  const callback = provider.callback()
  return (req, res) => {
    const answered = isInteraction(req) ? interactions(req, res) : callback(req, res)
    answered.catch((error: unknown) => {
      logger?.error({ error }, 'authorization server: request failed')
      if (!res.headersSent) res.writeHead(500)
      res.end()
    })
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(port, host, resolve)
  await promise
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeAllConnections()
  await promise
}
