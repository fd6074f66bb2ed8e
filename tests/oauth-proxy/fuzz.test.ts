import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { parseRequestTarget } from '../../oauth-proxy/src/canonical-path.ts'
import { sanitizeChallenge } from '../../oauth-proxy/src/challenge.ts'
import { createNameFilter, nameList } from '../../oauth-proxy/src/name-filter.ts'
import { publicTarget, RouteTable, upstreamTarget, type Route } from '../../oauth-proxy/src/routes.ts'
import { routeTo } from './proxy-under-test.ts'

/** `TH_FUZZ_RUNS` raises the number of cases; the usual run keeps it small. */
const numRuns = Number(process.env['TH_FUZZ_RUNS'] ?? 2_000)

/** Targets made of what confuses servers, and of harmless pieces, so that many are accepted. */
const pieces = [
  '/',
  '/',
  '/',
  'a',
  'api',
  'b.c',
  '.',
  '..',
  '%20',
  '%2e',
  '%2F',
  '%5c',
  '%25',
  '%252e',
  '%C3%A9',
  '%c0%ae',
]
const oddities = [
  ';',
  '\\',
  '?',
  '#',
  '%',
  '%zz',
  '%00',
  '\0',
  '\r\n',
  ' ',
  '\xe9',
  '\u2215',
  '%EF%BC%8F',
  '//',
  '@',
  ':',
]
const target = fc
  .array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...pieces) }, fc.constantFrom(...oddities), fc.string()), {
    maxLength: 12,
  })
  .map((parts) => `/${parts.join('')}`)

describe('fuzzed targets', () => {
  it('are refused, or read the same by everyone who normalises, decodes or compares them', () => {
    let accepted = 0
    fc.assert(
      fc.property(target, (text) => {
        const parsed = parseRequestTarget(text, 'www.example.com')
        if (parsed === undefined) return
        accepted++
        expect(parsed.path + parsed.query).toBe(text)
        // A browser, which resolves dot segments and turns backslashes, reads the same path.
        expect(new URL(`http://h${parsed.path}`).pathname).toBe(parsed.path)
        expect(new URL(`http://h${text}`).host).toBe('h')
        const once = decodeURIComponent(parsed.path)
        expect(once).not.toMatch(/\\|;|\/\/|\p{Cc}/u)
        expect(once.split('/').length).toBe(parsed.path.split('/').length)
        for (const form of [once, once.normalize('NFKC')]) {
          for (const segment of form.split('/').slice(1, -1)) expect(segment).not.toMatch(/^[. ]*$/)
          expect(form.split('/').at(-1)).not.toMatch(/^[. ]+$/)
        }
        // A second decoding finds nothing to decode, or nothing that may be decoded.
        expect(once).not.toMatch(/%[\da-f]{2}/i)
      }),
      { numRuns },
    )
    expect(accepted).toBeGreaterThan(numRuns / 20)
  })

  it('are never an error, whatever they are', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), target), (text) => {
        const parsed = parseRequestTarget(text, 'www.example.com')
        expect(parsed === undefined || parsed.path.startsWith('/')).toBe(true)
      }),
      { numRuns },
    )
  })
})

const segment = fc.constantFrom('a', 'b', 'ab', 'A', 'a.', 'c-d')
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join('/')}`)

describe('fuzzed routes', () => {
  it('match as a comparison with every single one does', () => {
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 12 }), path, (paths, asked) => {
        const table = new RouteTable(paths.map((of) => routeTo('http://h', { path: of }) as Route))
        const match = table.match(asked)
        const longest = paths
          .filter((of) => asked === of || asked.startsWith(`${of}/`))
          .toSorted((one, other) => other.length - one.length)[0]
        const found = match.found === 'route' ? match.route.path : undefined
        expect(match.found === 'ambiguous' ? longest !== undefined : found === longest).toBe(true)
      }),
      { numRuns },
    )
  })

  it('never leave the base of the API, and lead back', () => {
    fc.assert(
      fc.property(path, path, fc.option(path, { nil: undefined }), (base, rest, upstreamPath) => {
        const route = routeTo('http://h', { path: base, upstreamPath })
        for (const asked of [base, `${base}/`, base + rest]) {
          const sent = upstreamTarget(route, asked)
          const expected = upstreamPath ?? base
          expect(sent === expected || sent.startsWith(`${expected}/`)).toBe(true)
          expect(publicTarget(route, sent)).toBe(asked)
        }
      }),
      { numRuns },
    )
  })
})

describe('fuzzed header names', () => {
  const passes = createNameFilter(nameList('authorization x-user x-user-* x-forwarded-*'))
  const protectedName = fc.constantFrom('authorization', 'x-user', 'x-user-id', 'x-forwarded-for')

  it('never pass as a protected one in the eyes of CGI', () => {
    fc.assert(
      fc.property(protectedName, fc.array(fc.constantFrom('-', '_', '.', '~', "'", ' ', '\t')), (name, separators) => {
        let index = 0
        const twin = name.replaceAll('-', () => separators[index++] ?? '-')
        expect(passes(twin)).toBe(false)
      }),
      { numRuns },
    )
  })

  it('pass only if made of letters, digits and hyphens', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        expect(passes(name) && !/^[a-z0-9-]+$/.test(name)).toBe(false)
      }),
      { numRuns },
    )
  })
})

describe('fuzzed challenges', () => {
  const parts = ['Bearer', 'Basic', 'Negotiate', ' ', ', ', '=', '"', '\\', 'realm', 'error', 'scope="a b"', 'x', '\t']

  it('become a Bearer challenge with known parameters, or none', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...parts), fc.string()), { maxLength: 15 }), (text) => {
        const challenge = sanitizeChallenge(text.join('')) ?? 'Bearer'
        expect(challenge).toMatch(
          /^Bearer(?: (?:error|scope|acr_values|max_age)="[^"\\]*"(?:, (?:error|scope|acr_values|max_age)="[^"\\]*")*)?$/,
        )
      }),
      { numRuns },
    )
  })
})
