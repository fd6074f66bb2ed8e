/** What one Set-Cookie line says, before anything is judged (draft-ietf-httpbis-rfc6265bis section 5.6). */
export interface ParsedCookie {
  name: string
  value: string
  /** Lower-cased names; of repeated attributes the last one counts. */
  attributes: Map<string, string>
}

/** Why a user agent would ignore a cookie. */
export type Refusal =
  | 'control_character'
  | 'empty'
  | 'too_large'
  | 'foreign_domain'
  | 'public_suffix'
  | 'secure_over_http'
  | 'overwrites_secure'
  | 'same_site_from_cross_site'
  | 'same_site_none_without_secure'
  | 'prefix'

const MAX_NAME_AND_VALUE_OCTETS = 4096
const MAX_ATTRIBUTE_OCTETS = 1024
// All control characters except the tab.
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/

/** Parses one Set-Cookie line, or says why a user agent ignores it altogether. */
export function parseSetCookie(line: string): ParsedCookie | Refusal {
  if (CONTROL.test(line)) return 'control_character'
  const [pair = '', ...rest] = line.split(';')
  const [name, value] = pair.includes('=') ? splitOnce(pair) : ['', trim(pair)]
  if (name === '' && value === '') return 'empty'
  if (octets(name) + octets(value) > MAX_NAME_AND_VALUE_OCTETS) return 'too_large'
  const attributes = new Map<string, string>()
  for (const part of rest) {
    const [attribute, text] = splitOnce(part)
    if (octets(text) <= MAX_ATTRIBUTE_OCTETS) attributes.set(attribute.toLowerCase(), text)
  }
  return { name, value, attributes }
}

/**
 * Parses a cookie date as leniently as browsers do (section 5.1.1).
 * @returns Milliseconds since the epoch, or undefined when it is not a date.
 */
export function parseCookieDate(text: string): number | undefined {
  let time: number[] | undefined
  let day: number | undefined
  let month: number | undefined
  let year: number | undefined
  for (const token of text.split(/[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+/)) {
    const clock = /^(\d{1,2}):(\d{1,2}):(\d{1,2})(?!\d)/.exec(token)
    const monthIndex = MONTHS.indexOf(token.slice(0, 3).toLowerCase())
    if (time === undefined && clock) time = clock.slice(1).map(Number)
    else if (day === undefined && /^\d{1,2}(?!\d)/.test(token)) day = Number.parseInt(token, 10)
    else if (month === undefined && token.length >= 3 && monthIndex >= 0) month = monthIndex
    else if (year === undefined && /^\d{2,4}(?!\d)/.test(token)) year = fullYear(Number.parseInt(token, 10))
  }
  const [hour, minute, second] = time ?? []
  if (hour === undefined || minute === undefined || second === undefined) return undefined
  if (day === undefined || month === undefined || year === undefined) return undefined
  if (day < 1 || year < 1601 || hour > 23 || minute > 59 || second > 59) return undefined
  const date = new Date(Date.UTC(year, month, day, hour, minute, second))
  return date.getUTCDate() === day ? date.getTime() : undefined
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

function fullYear(year: number): number {
  if (year >= 70 && year <= 99) return year + 1900
  return year <= 69 ? year + 2000 : year
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [trim(text), ''] : [trim(text.slice(0, at)), trim(text.slice(at + 1))]
}

/** Only space and tab: other white space stays part of a name. */
function trim(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, '')
}

function octets(text: string): number {
  return Buffer.byteLength(text)
}
