import { describe, expect, it } from '@jest/globals'
import { refuseSource, type ErrorCode, type GuardedRequest, type GuardPolicy } from '@token-handler/shared'
import { refusalByDesign } from './guards-oracle.ts'

const spa = 'https://www.app.example'
const api = 'https://api.app.example'

/** Agent and proxy on the SPA's own host, where they also serve it. */
const sameOrigin: GuardPolicy = { trustedOrigins: new Set([spa]), ownOriginTrusted: true }
/** Agent and proxy on a host of their own on the SPA's site. */
const crossOrigin: GuardPolicy = { trustedOrigins: new Set([spa]), ownOriginTrusted: false }
const header = { 'token-handler-version': '1' }

function refusal(
  method: string,
  headers: GuardedRequest['headers'],
  policy: GuardPolicy = sameOrigin,
  isUpgrade = false,
): ErrorCode | undefined {
  return refuseSource({ method, headers, isUpgrade }, policy)
}

/** All combinations of the given choices. */
function* combinations<Choices extends Record<string, readonly unknown[]>>(
  choices: Choices,
): Generator<{ [Name in keyof Choices]: Choices[Name][number] }> {
  const [first, ...rest] = Object.keys(choices)
  if (first === undefined) yield {} as { [Name in keyof Choices]: Choices[Name][number] }
  else {
    const others = Object.fromEntries(rest.map((name) => [name, choices[name] ?? []]))
    for (const other of combinations(others)) {
      for (const value of choices[first] ?? []) {
        yield { ...other, [first]: value } as { [Name in keyof Choices]: Choices[Name][number] }
      }
    }
  }
}

describe('the guards', () => {
  it('[A-13] [A-14] [A-15] [G-5] decide every combination as the five steps of the design do', () => {
    const table = combinations({
      navigable: [false, true],
      embeddable: [false, true],
      ownOriginTrusted: [false, true],
      headerAlwaysRequired: [false, true],
      isUpgrade: [false, true],
      method: ['GET', 'HEAD', 'POST', 'DELETE'],
      version: [undefined, '1'],
      origin: [undefined, spa, 'https://evil.example', 'null', `${spa}, ${spa}`],
      referer: [undefined, `${spa}/orders?a=1`, 'https://evil.example/'],
      site: [undefined, 'same-origin', 'same-site', 'cross-site', 'none', 'x'],
      mode: ['cors', 'navigate'],
      dest: [undefined, 'empty', 'image', 'document', 'iframe', 'script'],
      special: [undefined, 'service-worker', 'sec-purpose'],
    })
    const differences: unknown[] = []
    const answers = new Map<string, number>()
    let rows = 0
    for (const row of table) {
      const headers: GuardedRequest['headers'] = {}
      if (row.version !== undefined) headers['token-handler-version'] = row.version
      if (row.origin !== undefined) headers.origin = row.origin
      if (row.referer !== undefined) headers.referer = row.referer
      if (row.site !== undefined) headers['sec-fetch-site'] = row.site
      if (row.dest !== undefined) headers['sec-fetch-dest'] = row.dest
      if (row.special === 'service-worker') headers['service-worker'] = 'script'
      if (row.special === 'sec-purpose') headers['sec-purpose'] = 'prefetch;prerender'
      headers['sec-fetch-mode'] = row.mode
      const policy = { trustedOrigins: new Set([spa]), ...row }
      const answer = refuseSource({ method: row.method, headers, isUpgrade: row.isUpgrade }, policy)
      const expected = refusalByDesign({ ...row, headers })
      if (answer !== expected && differences.length < 5) differences.push({ row, answer, expected })
      answers.set(answer ?? 'allowed', (answers.get(answer ?? 'allowed') ?? 0) + 1)
      rows++
    }
    expect(differences).toEqual([])
    expect(rows).toBe(2 ** 5 * 4 * 2 * 5 * 3 * 6 * 2 * 6 * 3)
    expect([...answers.keys()].toSorted()).toEqual([
      'allowed',
      'cross_site',
      'missing_header',
      'missing_origin',
      'untrusted_destination',
      'untrusted_origin',
    ])
  })

  describe('let through', () => {
    it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])('%s by the SPA on its own origin', (method) => {
      const headers = {
        ...header,
        'sec-fetch-site': 'same-origin',
        'sec-fetch-mode': 'cors',
        'sec-fetch-dest': 'empty',
      }
      expect(refusal(method, headers)).toBeUndefined()
      expect(refusal(method, { ...headers, origin: spa })).toBeUndefined()
    })

    it.each(['GET', 'POST'])('%s by the SPA on another origin of the site', (method) => {
      const headers = { ...header, origin: spa, 'sec-fetch-site': 'same-site', 'sec-fetch-dest': 'empty' }
      expect(refusal(method, headers, crossOrigin)).toBeUndefined()
    })

    it('an image of the SPA, which carries no custom header', () => {
      const image = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }
      expect(refusal('GET', image)).toBeUndefined()
      expect(
        refusal('GET', { ...image, 'sec-fetch-site': 'same-site', referer: `${spa}/` }, crossOrigin),
      ).toBeUndefined()
    })

    it('a download that is opened from the address bar, on a route for that alone', () => {
      const typed = { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
      expect(refusal('GET', typed, { ...sameOrigin, navigable: true })).toBeUndefined()
      expect(refusal('GET', typed)).toBe('untrusted_destination')
    })

    it('a frame of the SPA, on a route for that alone', () => {
      const frame = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }
      expect(refusal('GET', frame, { ...sameOrigin, embeddable: true })).toBeUndefined()
      expect(refusal('GET', frame, { ...sameOrigin, navigable: true })).toBe('untrusted_destination')
    })

    it('an old browser or a tool with the header', () => {
      expect(refusal('GET', header)).toBeUndefined()
      expect(refusal('POST', header)).toBeUndefined()
    })

    it('an upgrade with a trusted origin and nothing else, as Chromium sends it', () => {
      expect(refusal('GET', { origin: spa }, crossOrigin, true)).toBeUndefined()
    })
  })

  describe('refuse', () => {
    it('[A-14] a sibling on the same site, which SameSite lets through', () => {
      const sibling = 'https://other.app.example'
      const fetched = { ...header, origin: sibling, 'sec-fetch-site': 'same-site', 'sec-fetch-dest': 'empty' }
      expect(refusal('POST', fetched)).toBe('untrusted_origin')
      const image = { referer: `${sibling}/`, 'sec-fetch-site': 'same-site', 'sec-fetch-dest': 'image' }
      expect(refusal('GET', image)).toBe('missing_origin')
      expect(refusal('GET', { ...image, referer: undefined })).toBe('missing_origin')
    })

    it('a document that the API itself serves, where its origin is not the SPA', () => {
      const own = { ...header, 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': 'empty', referer: `${api}/api/page` }
      expect(refusal('GET', own, crossOrigin)).toBe('missing_origin')
      expect(refusal('POST', { ...own, origin: api }, crossOrigin)).toBe('untrusted_origin')
    })

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', undefined])(
      '[A-15] [D-CS-04] a request that needs no preflight, with content type %s',
      (contentType) => {
        const headers = {
          origin: spa,
          'sec-fetch-site': 'same-origin',
          ...(contentType === undefined ? {} : { 'content-type': contentType }),
        }
        expect(refusal('POST', headers)).toBe('missing_header')
        expect(refusal('POST', { ...headers, 'x-http-method-override': 'GET' })).toBe('missing_header')
      },
    )

    it('[A-15] GET without the header where it is always required', () => {
      const policy = { ...sameOrigin, headerAlwaysRequired: true }
      expect(refusal('GET', { 'sec-fetch-site': 'same-origin' }, policy)).toBe('missing_header')
      expect(refusal('HEAD', { 'sec-fetch-site': 'same-origin' }, policy)).toBe('missing_header')
      expect(refusal('GET', { ...header, 'sec-fetch-site': 'same-origin' }, policy)).toBeUndefined()
    })

    it.each(['', '0', '2', '01', '1, 1', ' 1', 'true', '１'])('the header with the value %j', (value) => {
      expect(refusal('POST', { origin: spa, 'token-handler-version': value })).toBe('missing_header')
    })

    it.each([
      'null',
      '',
      '*',
      'https://www.app.example.evil.example',
      'https://evil-www.app.example',
      'http://www.app.example',
      'https://www.app.example:443',
      'https://www.app.example:8443',
      'https://www.app.example/',
      'https://www.app.example.',
      'https://WWW.app.example',
      'https://user@www.app.example',
      'https://www.app.example@evil.example',
      'https://.app.example',
      'https://www.app.example, https://www.app.example',
      'https://www.app.example https://www.app.example',
      '__proto__',
    ])('[D-CS-03] [D-OR-02] [F-MO-16] the origin %j', (origin) => {
      expect(refusal('POST', { ...header, origin })).toBe('untrusted_origin')
      expect(refusal('GET', { ...header, origin, 'sec-fetch-site': 'same-origin' })).toBe('untrusted_origin')
      expect(refusal('GET', { origin }, sameOrigin, true)).toBe('untrusted_origin')
    })

    it.each([
      '',
      'about:blank',
      'null',
      'https://evil.example/https://www.app.example/',
      'https://www.app.example@evil.example/',
      'www.app.example',
      '//www.app.example/',
    ])('the referer %j as the only evidence', (referer) => {
      expect(refusal('GET', { ...header, referer })).toBe('missing_origin')
    })

    it('[D-CS-02] a hostile origin whatever Fetch Metadata claims', () => {
      const forged = { ...header, origin: 'https://evil.example', 'sec-fetch-site': 'same-origin', referer: `${spa}/` }
      expect(refusal('GET', forged)).toBe('untrusted_origin')
    })

    it('[D-CS-02] what Fetch Metadata calls cross-site, whatever the origin claims', () => {
      expect(refusal('POST', { ...header, origin: spa, 'sec-fetch-site': 'cross-site' })).toBe('cross_site')
    })

    it.each(['', 'Same-Origin', 'same-origin, same-origin', 'same-origin;x', 'unknown'])(
      'the value %j of Sec-Fetch-Site',
      (site) => {
        expect(refusal('GET', { ...header, origin: spa, 'sec-fetch-site': site })).toBe('cross_site')
      },
    )

    it.each([
      'script',
      'style',
      'object',
      'embed',
      'worker',
      'sharedworker',
      'serviceworker',
      'manifest',
      'report',
      'xslt',
      'frame',
      'document',
      'iframe',
      '',
      'Empty',
      'empty, empty',
    ])('the destination %j', (destination) => {
      const headers = { ...header, 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': destination }
      expect(refusal('GET', headers)).toBe('untrusted_destination')
    })

    it('a script that would become a service worker, and what is fetched before it is wanted', () => {
      const good = { ...header, 'sec-fetch-site': 'same-origin', 'sec-fetch-dest': 'empty' }
      for (const name of ['sec-purpose', 'purpose', 'x-moz']) {
        expect(refusal('GET', { ...good, [name]: 'prefetch' })).toBe('untrusted_destination')
      }
      expect(refusal('GET', { ...good, 'sec-purpose': 'prefetch;prerender' })).toBe('untrusted_destination')
      expect(refusal('GET', { ...good, 'service-worker': 'script' })).toBe('untrusted_destination')
    })

    it('[D-WS-02] an upgrade without an origin, whatever else it carries', () => {
      const headers = { ...header, 'sec-fetch-site': 'same-origin', referer: `${spa}/` }
      expect(refusal('GET', headers, sameOrigin, true)).toBe('missing_origin')
    })
  })
})
