import {
  createLogger,
  derivePurposeKey,
  generateKeyFile,
  purposes,
  systemClock,
  type Clock,
  type KeyFile,
  type Logger,
} from '@token-handler/shared'
import type { BackChannelRequest } from '../../spa-example/authorization-server/recorder.ts'
import { startDemo, type Demo, type DemoOptions } from '../../spa-example/demo.ts'
import { Canaries } from './canary.ts'
import { buildSpa } from './spa-build.ts'
import { tapServer, type WireTap } from './wire-tap.ts'

/** Runs like the system's, and can be put ahead: certificates, ID tokens and the browser go on with the real one. */
export interface RunningClock extends Clock {
  /** Time passes: both clocks move on. */
  advanceSeconds(seconds: number): void
  /** Somebody sets the wall clock, forwards or back; the monotonic one does not notice. */
  jump(milliseconds: number): void
}

/** The demo on free ports, with all that a test wants to know about it. */
export interface TestDemo extends Demo {
  /** The clock of agent and proxy. */
  readonly clock: RunningClock
  /** What the public listener got and sent. */
  readonly wire: WireTap
  readonly logger: Logger
  /** Everything logged so far, as JSON lines. */
  log(): string
  /** Requests to the token endpoint of one grant type. */
  tokenRequests(grantType: 'authorization_code' | 'refresh_token'): BackChannelRequest[]
  /** The access token that the API was shown last. */
  lastBearer(): string | undefined
  /** All secrets of the demo so far: tokens, codes, code verifiers, the client's secret, the master key. */
  secrets(): Canaries
}

export type TestDemoOptions = Partial<Omit<DemoOptions, 'logger' | 'clock' | 'keys' | 'ports'>>

/** Starts the demo; whoever starts it closes it. */
export async function startTestDemo(options: TestDemoOptions = {}): Promise<TestDemo> {
  const lines: string[] = []
  const clock = runningClock()
  const logger = createLogger('debug', { write: (line) => void lines.push(line) })
  const keys = generateKeyFile(new Date())
  const demo = await startDemo({
    spa: { root: await buildSpa() },
    ...options,
    ports: { web: 0, authorizationServer: 0, api: 0, admin: 0, storage: 0 },
    logger,
    clock,
    keys,
  })
  const { authorizationServer, api, tokenHandler } = demo
  return {
    ...demo,
    clock,
    wire: tapServer(tokenHandler.server),
    logger,
    log: () => lines.join(''),
    tokenRequests: (grantType) =>
      authorizationServer.requests.filter(
        ({ path, parameters }) => path === '/token' && parameters['grant_type'] === grantType,
      ),
    lastBearer: () => api.received.at(-1)?.headers.authorization?.replace(/^Bearer /, ''),
    secrets: () => secretsOf(demo, keys),
  }
}

function runningClock(): RunningClock {
  let ahead = 0
  let set = 0
  return {
    now: () => systemClock.now() + ahead + set,
    monotonic: () => systemClock.monotonic() + ahead,
    advanceSeconds(seconds) {
      ahead += seconds * 1000
    },
    jump(milliseconds) {
      set += milliseconds
    },
  }
}

/** Parameters of the back channel that nobody else may see, and what each one is. */
const secretParameters = ['code', 'code_verifier', 'refresh_token', 'token', 'client_assertion']

function secretsOf({ authorizationServer, adminKey }: Demo, { keys }: KeyFile): Canaries {
  const canaries = new Canaries()
  const { issuer, clients } = authorizationServer
  canaries.watch('admin key', adminKey)
  for (const { key } of keys) {
    if (key === undefined) continue
    canaries.watch('master key', key)
    for (const purpose of purposes) {
      const context = { issuer, clientId: clients.secret.clientId }
      const derived = derivePurposeKey(Buffer.from(key, 'base64url'), purpose, context)
      canaries.watch(`key of ${purpose}`, derived.toString('base64url'))
    }
  }
  canaries.watch('client secret', clients.secret.clientSecret)
  for (const { accessToken, refreshToken, idToken } of authorizationServer.issued) {
    canaries.watch('access token', accessToken)
    if (refreshToken !== undefined) canaries.watch('refresh token', refreshToken)
    if (idToken !== undefined) canaries.watch('ID token', idToken)
  }
  for (const { parameters } of authorizationServer.requests) {
    for (const name of secretParameters) {
      const value = parameters[name]
      if (value !== undefined) canaries.watch(name.replace('_', ' '), value)
    }
  }
  return canaries
}
