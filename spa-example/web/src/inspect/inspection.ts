import { findTokens, type Suspect } from './find-tokens.ts'
import { PLACES, type Place } from './places.ts'
import { readStorage } from './storage.ts'

/** What was seen in one place. */
export interface Finding {
  readonly place: Place
  readonly text: string
  readonly suspects: readonly Suspect[]
  /** Why the place could not be read. */
  readonly problem?: string
}

/** One look at every place. */
export interface Inspection {
  readonly findings: readonly Finding[]
  /** Did the scanner find the tokens that were planted for it? */
  readonly scannerWorks: boolean
}

/** Looks everywhere. A scanner that finds nothing proves nothing by itself, so it has to find planted tokens too. */
export async function inspect(): Promise<Inspection> {
  const findings: Finding[] = []
  for (const place of PLACES) findings.push(await look(place))
  return { findings, scannerWorks: findsPlantedTokens() }
}

async function look(place: Place): Promise<Finding> {
  try {
    const text = await place.read()
    return { place, text, suspects: findTokens(text) }
  } catch (error) {
    return { place, text: '', suspects: [], problem: error instanceof Error ? error.message : String(error) }
  }
}

/** A signed, an encrypted and an opaque token, made of random bytes and put where real ones are often found. */
function findsPlantedTokens(): boolean {
  const key = 'token-handler-demo:planted'
  const header = encode(new TextEncoder().encode('{"alg":"none"}'))
  const part = (): string => encode(crypto.getRandomValues(new Uint8Array(32)))
  const planted = [[header, part(), part()].join('.'), [header, part(), part(), part(), part()].join('.'), part()]
  try {
    sessionStorage.setItem(key, JSON.stringify(planted))
    const kinds = findTokens(readStorage(sessionStorage)).map(({ kind }) => kind)
    return ['JWT', 'JWE', 'opaque'].every((kind) => kinds.some((found) => found === kind))
  } finally {
    sessionStorage.removeItem(key)
  }
}

function encode(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
