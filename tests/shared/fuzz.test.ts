import { describe, expect, it } from '@jest/globals'
import { chunkedCookieValues, cookieValues, listCookieNames, maxChunks, type SealedClaims } from '@token-handler/shared'
import fc from 'fast-check'
import { createSealing } from './sealing.ts'

/** `npm run fuzz` raises the number of cases; the usual run keeps it small. */
const numRuns = Number(process.env['TH_FUZZ_RUNS'] ?? 1_000)

const name = '__Host-Http-th-sid'
/** What a header is made of where it is made to confuse: our name, near misses, and everything that separates. */
const pieces = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(name, `${name}=`, `${name}.0`, `${name}.0=2.`, `${name}.1=`, '; ', ';', '='),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(' ', '\t', '"', '\u00a0', '\u2000', '__host-http-th-sid=', '$Version=1', ','),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 6 }) },
)
const headers = fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join(''))

/** RFC 6265 section 5.4 read backwards: pairs between semicolons, spaces before the name, space and tab around the value. */
function readByPairs(header: string, wanted: string): string[] {
  return header
    .split(';')
    .map((pair) => pair.replace(/^ +/, ''))
    .filter((pair) => pair.startsWith(`${wanted}=`))
    .map((pair) => pair.slice(wanted.length + 1).replace(/^[ \t]+|[ \t]+$/g, ''))
    .slice(0, 4)
}

describe('Cookie headers of any kind', () => {
  it('are read as pairs between semicolons, exactly by name', () => {
    fc.assert(
      fc.property(headers, (header) => {
        expect(cookieValues(header, name)).toEqual(readByPairs(header, name))
      }),
      { numRuns },
    )
  })

  it('[D-CK-08] give at most four values of a chunked cookie, each of the chunks that its first one counts', () => {
    fc.assert(
      fc.property(headers, (header) => {
        const values = chunkedCookieValues(header, name)
        const whole = readByPairs(header, name)
        const counted = readByPairs(header, `${name}.0`).filter((first) => /^[2-9]\./.test(first))
        const readable = counted.filter((first) => Number(first[0]) <= maxChunks)
        const most = whole.length > 0 ? whole.length : 4 * readable.length
        expect(values.length).toBeLessThanOrEqual(most)
        expect(values.slice(0, whole.length)).toEqual(whole)
      }),
      { numRuns },
    )
  })

  it('list every name that is read, so that none of ours passes where names are taken out', () => {
    fc.assert(
      fc.property(headers, (header) => {
        const isRead = cookieValues(header, name).length > 0
        expect(!isRead || listCookieNames(header).includes(name)).toBe(true)
      }),
      { numRuns },
    )
  })
})

describe('sealed values of any kind', () => {
  const sealing = createSealing()
  const { sealer } = sealing
  const sealed = sealer.seal('access-token', { exp: sealing.inSeconds(60), at: 'canary' } as SealedClaims)
  const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ %\n\u00e9'.split('')

  it('open only as they were made', () => {
    const edits = fc.array(
      fc.record({
        at: fc.nat({ max: sealed.length }),
        remove: fc.nat({ max: 3 }),
        insert: fc.array(fc.constantFrom(...characters), { maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 4 },
    )
    fc.assert(
      fc.property(edits, (changes) => {
        const changed = changes.reduce(
          (value, { at, remove, insert }) => value.slice(0, at) + insert.join('') + value.slice(at + remove),
          sealed,
        )
        expect(sealer.open('access-token', changed).ok).toBe(changed === sealed)
      }),
      { numRuns },
    )
  })

  it('are never an error, and never open by accident', () => {
    const noise = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.array(fc.base64String({ maxLength: 60 }), { maxLength: 7 }).map((parts) => parts.join('.')),
      fc
        .tuple(fc.json(), fc.base64String(), fc.base64String())
        .map(([header, body, tag]) => `${Buffer.from(header).toString('base64url')}..${body}.${tag}.${tag}`),
    )
    fc.assert(
      fc.property(noise, (value) => {
        expect(sealer.open('access-token', value).ok).toBe(false)
      }),
      { numRuns },
    )
  })
})
