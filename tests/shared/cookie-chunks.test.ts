import { describe, expect, it } from '@jest/globals'
import {
  allChunkNames,
  chunkedCookieValues,
  clearCookieLine,
  maxChunkBytes,
  maxChunks,
  setCookieLines,
  writtenNames,
} from '@token-handler/shared'
import { CookieJar } from '../support/cookie-jar.ts'
import { names, settings } from './cookie-settings.ts'

const url = 'https://app.example/api/orders'
const path = settings.accessTokenPath
const name = names.accessToken('AAAAAAAA')
/** The longest value that still fits: two characters say how many chunks there are. */
const longest = maxChunks * maxChunkBytes - 2

/** Text in which every position differs from its neighbours, so that a wrong order shows. */
function textOf(length: number): string {
  return Array.from({ length: Math.ceil(length / 6) }, (_, at) => at.toString(36).padStart(6, '_'))
    .join('')
    .slice(0, length)
}

function written(value: string): string[] {
  const lines = setCookieLines({ name, value, path, maxAgeSeconds: 60 })
  if (lines === undefined) throw new Error('the value does not fit')
  return lines
}

/** The Cookie header that a browser sends after these lines. */
function sent(lines: readonly string[], jar: CookieJar = new CookieJar()): string {
  jar.store(url, lines)
  expect(jar.refused).toEqual([])
  return jar.header(url)
}

function read(cookies: readonly string[]): string[] {
  return chunkedCookieValues(cookies.join('; '), name)
}

describe('a value that is too long for one cookie', () => {
  const sizes = [
    ...[1, 2, 3, 4, 5].flatMap((count) => [-3, -2, -1, 0, 1].map((step) => count * maxChunkBytes + step)),
    1,
    3891,
    4095,
    4096,
    4097,
  ].filter((size) => size <= longest)

  it.each(sizes)('[D-CK-04] [D-CK-05] [F-MO-15] of %i characters comes back from a browser as it was', (size) => {
    const value = textOf(size)
    const lines = written(value)
    expect(chunkedCookieValues(sent(lines), name)).toEqual([value])
    expect(lines.map((line) => line.slice(0, line.indexOf('=')))).toEqual(writtenNames(name, size))
    for (const line of lines) expect(line.indexOf(';')).toBeLessThanOrEqual(4096)
  })

  it('is split only where it must be', () => {
    expect(written(textOf(maxChunkBytes))).toHaveLength(1)
    expect(written(textOf(maxChunkBytes + 1))).toHaveLength(2)
    expect(written(textOf(2 * maxChunkBytes - 2))).toHaveLength(2)
    expect(written(textOf(2 * maxChunkBytes - 1))).toHaveLength(3)
  })

  it('[D-CK-07] [E-JW-06] is refused before anything is set when it needs more chunks than a reader takes', () => {
    expect(setCookieLines({ name, value: textOf(longest), path })).toHaveLength(maxChunks)
    expect(setCookieLines({ name, value: textOf(longest + 1), path })).toBeUndefined()
  })

  it('[D-CK-04] fits under the longest names that a configuration can make', () => {
    const long = `__Host-Http-${'x'.repeat(16)}-at-AAAAAAAA`
    const jar = new CookieJar()
    jar.store(url, setCookieLines({ name: long, value: textOf(longest), path: '/' }))
    expect(jar.refused).toEqual([])
    expect(chunkedCookieValues(jar.header(url), long)).toEqual([textOf(longest)])
  })

  it('[D-CK-06] shrinks to one cookie without a trace of the old chunks, once those are deleted', () => {
    const jar = new CookieJar()
    sent(written(textOf(9000)), jar)
    const leftovers = allChunkNames(name).filter((chunk) => !writtenNames(name, 100).includes(chunk))
    const header = sent([...written(textOf(100)), ...leftovers.map((chunk) => clearCookieLine(chunk, path))], jar)
    expect(chunkedCookieValues(header, name)).toEqual([textOf(100)])
    expect(jar.names()).toEqual([name])
  })

  it('[D-CK-06] is not read from leftovers of a longer one', () => {
    const jar = new CookieJar()
    sent(written(textOf(12_000)), jar)
    expect(chunkedCookieValues(sent(written(textOf(5000)), jar), name)).toEqual([textOf(5000)])
    expect(chunkedCookieValues(sent(written(textOf(100)), jar), name)).toEqual([textOf(100)])
  })

  it('[B-LO-02] [D-CK-16] is deleted under every name that it can have had', () => {
    const jar = new CookieJar()
    sent(written(textOf(longest)), jar)
    sent(written('short'), jar)
    expect(jar.names()).toHaveLength(maxChunks + 1)
    sent(
      allChunkNames(name).map((chunk) => clearCookieLine(chunk, path)),
      jar,
    )
    expect(jar.names()).toEqual([])
  })
})

describe('chunks that were tampered with', () => {
  const value = textOf(10_000)
  const chunks = sent(written(value)).split('; ')

  it('[D-CK-08] are no value when one is missing', () => {
    expect(chunks).toHaveLength(3)
    for (const [missing] of chunks.entries()) expect(read(chunks.toSpliced(missing, 1))).toEqual([])
  })

  it('[D-CK-08] give the same value in any order of the header', () => {
    expect(read(chunks.toReversed())).toEqual([value])
  })

  it('[D-CK-08] are another value when their names are swapped', () => {
    const [first = '', second = '', third = ''] = chunks
    const swapped = [first, second.replace('.1=', '.2='), third.replace('.2=', '.1=')]
    expect(read(swapped)).not.toContain(value)
  })

  it.each(['0.', '1.', '6.', '9.', '999999.', '-1.', 'x.', '1e9.', '00.', '.', '', '3', '３.', ':.', '3,'])(
    '[D-CK-08] [F-MO-5] are not read when the first says %j for their number',
    (count) => {
      const header = [`${name}.0=${count}abc`, ...Array.from({ length: 20 }, (_, at) => `${name}.${at + 1}=x`)]
      expect(read(header)).toEqual([])
    },
  )

  it('[D-CK-08] [F-MO-5] are read under the exact names only, however many others there are', () => {
    const bomb = Array.from({ length: 2000 }, (_, at) => `${name}.${at + 3}=${'x'.repeat(20)}`)
    const odd = ['.-1', '.1e9', '.00', '.01', '. 1', '.999999', '.0x1', '.'].map((suffix) => `${name}${suffix}=x`)
    const start = performance.now()
    expect(read([...bomb, ...odd, ...chunks])).toEqual([value])
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  it('[D-CK-08] [D-TO-08] give a few candidates at most, however many duplicates there are', () => {
    const duplicates = Array.from({ length: 10 }, (_, at) => [
      `${name}.0=5.a${at}`,
      ...[1, 2, 3, 4].map((index) => `${name}.${index}=b${at}`),
    ])
    expect(read(duplicates.flat()).length).toBeLessThanOrEqual(16)
    expect(chunkedCookieValues(Array.from({ length: 10 }, (_, at) => `${name}=${at}`).join('; '), name)).toHaveLength(4)
  })

  it('keep the right value among the candidates when a wrong chunk was planted beside', () => {
    const [first = '', second = '', third = ''] = chunks
    for (const planted of [`${name}.1=planted`, `${name}.0=3.planted`, `${name}.2=planted`]) {
      expect(read([planted, first, second, third])).toContain(value)
      expect(read([first, second, third, planted])).toContain(value)
    }
  })

  it('count for nothing beside a whole value of the same name', () => {
    expect(read([...chunks, `${name}=whole`])).toEqual(['whole'])
  })
})
