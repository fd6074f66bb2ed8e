import { describe, expect, it } from '@jest/globals'
import { clientFingerprint } from '@token-handler/shared'

const webkit = 'AppleWebKit/537.36 (KHTML, like Gecko)'
const agents = {
  chromeOnWindows: `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/153.0.0.0 Safari/537.36`,
  edgeOnWindows: `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/153.0.0.0 Safari/537.36 Edg/153.0.0.0`,
  operaOnMac: `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webkit} Chrome/152.0.0.0 Safari/537.36 OPR/137.0.0.0`,
  chromeOnAndroid: `Mozilla/5.0 (Linux; Android 10; K) ${webkit} Chrome/153.0.0.0 Mobile Safari/537.36`,
  samsungOnAndroid: `Mozilla/5.0 (Linux; Android 10; K) ${webkit} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36`,
  chromeOnChromeOS: `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${webkit} Chrome/153.0.0.0 Safari/537.36`,
  headlessOnLinux: `Mozilla/5.0 (X11; Linux x86_64) ${webkit} HeadlessChrome/153.0.0.0 Safari/537.36`,
  firefoxOnLinux: 'Mozilla/5.0 (X11; Linux x86_64; rv:149.0) Gecko/20100101 Firefox/149.0',
  firefoxOnAndroid: 'Mozilla/5.0 (Android 15; Mobile; rv:149.0) Gecko/149.0 Firefox/149.0',
  safariOnMac:
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15',
  safariOnPhone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1',
}

/** Client hints as Chromium sends them, with the brand that every version spells differently. */
const hints = (brand: string, platform: string, mobile: '?0' | '?1' = '?0', version = 153) => ({
  'sec-ch-ua': `"Not_A Brand";v="99", "${brand}";v="${version}", "Chromium";v="${version}"`,
  'sec-ch-ua-platform': `"${platform}"`,
  'sec-ch-ua-mobile': mobile,
})

describe('the fingerprint of a client', () => {
  it.each([
    ['chromeOnWindows', 'windows desktop chrome', hints('Google Chrome', 'Windows')],
    ['edgeOnWindows', 'windows desktop edge', hints('Microsoft Edge', 'Windows')],
    ['operaOnMac', 'macos desktop opera', hints('Opera', 'macOS')],
    ['chromeOnAndroid', 'android mobile chrome', hints('Google Chrome', 'Android', '?1')],
    ['samsungOnAndroid', 'android mobile samsung', hints('Samsung Internet', 'Android', '?1')],
    ['chromeOnChromeOS', 'chromeos desktop chrome', hints('Google Chrome', 'Chrome OS')],
    ['headlessOnLinux', 'linux desktop chrome', hints('HeadlessChrome', 'Linux')],
    ['chromeOnWindows', 'windows desktop chrome', hints('Brave', 'Windows')],
  ] as const)('is the same by client hints, by User-Agent, and by some of either: %s', (name, expected, given) => {
    const agent = { 'user-agent': agents[name] }
    expect(clientFingerprint(agent)).toBe(expected)
    expect(clientFingerprint({ ...agent, ...given })).toBe(expected)
    expect(clientFingerprint(given)).toBe(expected)
    for (const [hint, value] of Object.entries(given))
      expect(clientFingerprint({ ...agent, [hint]: value })).toBe(expected)
  })

  it.each([
    ['firefoxOnLinux', 'linux desktop firefox'],
    ['firefoxOnAndroid', 'android mobile firefox'],
    ['safariOnMac', 'macos desktop safari'],
    ['safariOnPhone', 'ios mobile safari'],
  ] as const)('comes from User-Agent where there are no hints: %s', (name, expected) => {
    expect(clientFingerprint({ 'user-agent': agents[name] })).toBe(expected)
  })

  it('stays when the browser is updated', () => {
    const before = { 'user-agent': agents.edgeOnWindows, ...hints('Microsoft Edge', 'Windows') }
    const after = {
      'user-agent': agents.edgeOnWindows.replaceAll('153', '161'),
      ...hints('Microsoft Edge', 'Windows', '?0', 161),
      'sec-ch-ua': '"Chromium";v="161", "Not=A?Brand";v="8", "Microsoft Edge";v="161"',
    }
    expect(clientFingerprint(after)).toBe(clientFingerprint(before))
  })

  it('is made of words of ours, whatever is sent', () => {
    expect(clientFingerprint({})).toBe('other desktop other')
    expect(
      clientFingerprint({ 'user-agent': '\n"evil"', 'sec-ch-ua': 'x'.repeat(9000), 'sec-ch-ua-platform': '"Evil"' }),
    ).toBe('other desktop other')
  })
})
