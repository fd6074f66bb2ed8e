import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { rotations, type Rotation } from './token-families.ts'

/** `none` is the control: it breaks what the others keep. */
export const stores = ['sqlite', 'redis', 'none'] as const
export type StoreKind = (typeof stores)[number]

export interface TortureOptions {
  /** Faults to inject. */
  readonly faults: number
  readonly seed: number
  readonly store: StoreKind
  /** What the authorization server does with a refresh token that is used again. */
  readonly rotation: Rotation
  readonly browsers: number
  readonly tabs: number
  /** Limit of one call to the authorization server; a lease lasts 5 s longer. */
  readonly timeoutSeconds: number
  /** Mean pause of a browser between two bursts of requests. */
  readonly thinkMs: number
  /** One's own authorization server, in place of the scripted one. */
  readonly external: ExternalServer | undefined
  /** A file that gets everything that was seen, as JSON lines. */
  readonly history: string | undefined
}

export interface ExternalServer {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  readonly redirectUri: string
  readonly scope: string
  /** Fills in the login form; without it every login is done by hand. */
  readonly user: { readonly name: string; readonly password: string } | undefined
}

export const usage = `npm run torture -- [options]

  --faults N           faults to inject (1000)
  --seed S             repeats the plan of an earlier run (random)
  --store KIND         ${stores.join(', ')} (sqlite); none is the control, which fails
  --as KIND            ${rotations.join(', ')} (strict): what the authorization server does with a refresh token
                       that is used again: ends everything, tolerates it for a while, or never rotates
  --browsers N         browsers, each with a session (50)
  --tabs N             tabs of each, which ask at the same time (5)
  --think MS           mean pause of a browser between two bursts (400)
  --timeout S          the agents' limit for one call to the authorization server (4); a lease lasts 5 s longer
  --slow               the same as --timeout 45, which is what agents have in production
  --history FILE       write down everything that was seen, as JSON lines

  Against your own authorization server (docs/torture.md):
  --issuer URL  --client-id ID  --client-secret-file FILE  --redirect-uri URL  [--scope SCOPES]
  [--user NAME --password-file FILE]   without them, every login is done by hand
`

/** @throws TypeError saying what is wrong with the arguments. */
export function parseOptions(args: readonly string[]): TortureOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      faults: { type: 'string', default: '1000' },
      seed: { type: 'string' },
      store: { type: 'string', default: 'sqlite' },
      as: { type: 'string', default: 'strict' },
      browsers: { type: 'string' },
      tabs: { type: 'string', default: '5' },
      think: { type: 'string', default: '400' },
      timeout: { type: 'string', default: '4' },
      slow: { type: 'boolean', default: false },
      history: { type: 'string' },
      issuer: { type: 'string' },
      'client-id': { type: 'string' },
      'client-secret-file': { type: 'string' },
      'redirect-uri': { type: 'string', default: 'http://localhost:3000/callback' },
      scope: { type: 'string', default: 'openid offline_access' },
      user: { type: 'string' },
      'password-file': { type: 'string' },
    },
  })
  const external = parseExternal(values)
  const isByHand = external !== undefined && external.user === undefined
  return {
    faults: whole('faults', values.faults),
    seed: values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : whole('seed', values.seed, 0),
    store: oneOf('store', stores, values.store),
    rotation: oneOf('as', rotations, values.as),
    browsers: whole('browsers', values.browsers ?? (isByHand ? '3' : external === undefined ? '50' : '10')),
    tabs: whole('tabs', values.tabs),
    timeoutSeconds: values.slow ? 45 : whole('timeout', values.timeout),
    thinkMs: whole('think', values.think),
    external,
    history: values.history,
  }
}

interface ExternalValues {
  readonly issuer?: string | undefined
  readonly 'client-id'?: string | undefined
  readonly 'client-secret-file'?: string | undefined
  readonly 'redirect-uri': string
  readonly scope: string
  readonly user?: string | undefined
  readonly 'password-file'?: string | undefined
}

function parseExternal(values: ExternalValues): ExternalServer | undefined {
  const {
    issuer,
    user,
    'client-id': clientId,
    'client-secret-file': secretFile,
    'password-file': passwordFile,
  } = values
  if (issuer === undefined) return undefined
  if (!URL.canParse(issuer)) throw new TypeError('--issuer takes a URL')
  if (clientId === undefined || secretFile === undefined) {
    throw new TypeError('--issuer needs --client-id and --client-secret-file')
  }
  if ((user === undefined) !== (passwordFile === undefined)) {
    throw new TypeError('--user and --password-file belong together')
  }
  return {
    issuer,
    clientId,
    clientSecret: readSecret(secretFile),
    redirectUri: values['redirect-uri'],
    scope: values.scope,
    user:
      user === undefined || passwordFile === undefined ? undefined : { name: user, password: readSecret(passwordFile) },
  }
}

function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new TypeError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error })
  }
}

function whole(name: string, text: string, least = 1): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < least) throw new TypeError(`--${name} takes a whole number`)
  return number
}

function oneOf<T extends string>(name: string, known: readonly T[], text: string): T {
  const found = known.find((value) => value === text)
  if (found === undefined) throw new TypeError(`--${name} takes ${known.join(' or ')}`)
  return found
}
