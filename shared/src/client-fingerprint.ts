import type { IncomingHttpHeaders } from 'node:http'

/**
 * Which kind of browser sends a request, as coarse as can be: platform, mobile or desktop, family. Updates do not change
 * it. Read from the client hints that Chromium sends with every request (User-Agent Client Hints section 3), or where one is
 * missing from `User-Agent`; both lead to the same words, for not every kind of request carries the hints.
 *
 * It tells a copied cookie in another kind of browser. Who copies the headers as well is not told.
 */
export function clientFingerprint(headers: IncomingHttpHeaders): string {
  const agent = headers['user-agent'] ?? ''
  const brands = single(headers['sec-ch-ua'])
  const platform = single(headers['sec-ch-ua-platform'])
  const mobile = single(headers['sec-ch-ua-mobile'])
  return [
    platform === undefined ? find(platformsByAgent, agent) : find(platformsByHint, platform),
    (mobile === undefined ? /\bMobi|\biPhone\b/.test(agent) : mobile.trim() === '?1') ? 'mobile' : 'desktop',
    brands === undefined ? find(familiesByAgent, agent) : find(familiesByHint, brands),
  ].join(' ')
}

/** The headers that it is made of. */
export const fingerprintHeaders = ['user-agent', 'sec-ch-ua', 'sec-ch-ua-platform', 'sec-ch-ua-mobile'] as const

type Words = readonly (readonly [pattern: RegExp, word: string])[]

/** The first that fits; nothing that a client sends gets out of here. */
function find(words: Words, text: string): string {
  return words.find(([pattern]) => pattern.test(text))?.[1] ?? 'other'
}

const platformsByHint: Words = [
  [/^"Windows"$/, 'windows'],
  [/^"macOS"$/, 'macos'],
  [/^"Android"$/, 'android'],
  [/^"iOS"$/, 'ios'],
  [/^"(?:Chrome|Chromium) ?OS"$/, 'chromeos'],
  [/^"Linux"$/, 'linux'],
]

const platformsByAgent: Words = [
  [/\bWindows\b/, 'windows'],
  [/\b(?:iPhone|iPad|iPod)\b/, 'ios'],
  [/\bMacintosh\b/, 'macos'],
  [/\bAndroid\b/, 'android'],
  [/\bCrOS\b/, 'chromeos'],
  [/\bLinux\b/, 'linux'],
]

/** Browsers that say in `User-Agent` too what they are; all others of that engine count as Chrome. */
const familiesByHint: Words = [
  [/"Microsoft Edge"/, 'edge'],
  [/"Opera"/, 'opera'],
  [/"Samsung Internet"/, 'samsung'],
  [/"Chromium"/, 'chrome'],
]

const familiesByAgent: Words = [
  [/\bEdgA?\//, 'edge'],
  [/\bOPR\//, 'opera'],
  [/\bSamsungBrowser\//, 'samsung'],
  [/Chrom(?:e|ium)\//, 'chrome'],
  [/\b(?:Firefox|FxiOS)\//, 'firefox'],
  [/\bSafari\//, 'safari'],
]

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}
