import { stringifySetCookie } from 'cookie'

/** How our cookies are named, where they are sent, and how large they may be. */
export interface CookieSettings {
  /** Middle part of every name, `th` unless configured. */
  readonly prefix: string
  /** Public path under which the access cookie is sent: that of the OAuth Proxy, such as `/api`. */
  readonly accessTokenPath: string
  /** Public path of the OAuth Agent, such as `/oauth-agent`. */
  readonly agentPath: string
  /** `false`: the session cookies carry no Max-Age and end with the browser session. */
  readonly persistent: boolean
  /** Most bytes that our cookies may add to the Cookie header of one request path. */
  readonly headerBudgetBytes: number
  /** Most bytes of Set-Cookie lines in one answer; a default nginx answers 502 above about 4 KB. */
  readonly responseBudgetBytes: number
}

/** A value longer than this is split: browsers drop a cookie whose name and value exceed 4,096 bytes (RFC 6265bis section 5.6). */
export const maxChunkBytes = 3800
/** Writer and reader agree on this; a value that needs more is refused before anything is set. */
export const maxChunks = 5
/** Values under one name that are looked at; browsers send one, tampering may add others. */
const maxValuesPerName = 4

/** The exact names of our cookies. `tag` is the first 8 characters of the sid (see {@link cookieTag}). */
export interface CookieNames {
  readonly sid: string
  readonly loginPrefix: string
  /** Prefixes that mark a cookie as ours, lower case: none of them reaches an upstream. */
  readonly ownPrefixes: readonly string[]
  readonly accessToken: (tag: string) => string
  readonly refreshToken: (tag: string) => string
  readonly idToken: (tag: string) => string
  readonly login: (id: string) => string
  readonly logout: (tag: string) => string
}

export function cookieNames({ prefix, accessTokenPath, agentPath }: CookieSettings): CookieNames {
  const host = `__Host-Http-${prefix}-`
  const at = `${namePrefix(accessTokenPath)}${prefix}-at-`
  const agent = `${namePrefix(agentPath)}${prefix}-`
  return {
    sid: `${host}sid`,
    loginPrefix: `${host}login-`,
    ownPrefixes: [host, `__Secure-${prefix}-`].map((text) => text.toLowerCase()),
    accessToken: (tag) => at + tag,
    refreshToken: (tag) => `${agent}rt-${tag}`,
    idToken: (tag) => `${agent}id-${tag}`,
    login: (id) => `${host}login-${id}`,
    // Nothing ties it to the session, which is over: no sibling host may plant one.
    logout: (tag) => `${host}logout-${tag}`,
  }
}

/** A cookie for the whole host can promise more than one with a path: `__Host-` demands `Path=/`. */
function namePrefix(path: string): '__Host-Http-' | '__Secure-' {
  return path === '/' ? '__Host-Http-' : '__Secure-'
}

/** Nobody outside can guess a name that ends in this, and cookies of different sessions cannot overwrite each other. */
export function cookieTag(sid: string): string {
  return sid.slice(0, 8)
}

const sidFormat = /^[A-Za-z0-9_-]{22}$/

/** The plausible values of the sid cookie: 128 bits as base64url. More than one is a sign of tampering. */
export function readSids(cookieHeader: string | undefined, names: CookieNames): string[] {
  const values = cookieValues(cookieHeader, names.sid).filter((value) => sidFormat.test(value))
  return values.length > 1 ? [...new Set(values)] : values
}

/**
 * The values of one cookie, in order, from the raw header. Names match exactly: a cookie library that trims more than
 * space and tab, unquotes or hides duplicates would let a planted cookie shadow ours (RFC 6265bis section 5.7).
 */
export function cookieValues(cookieHeader: string | undefined, name: string): string[] {
  const values: string[] = []
  if (cookieHeader === undefined) return values
  for (let start = 0, end = 0; end !== -1 && values.length < maxValuesPerName; start = end + 1) {
    end = cookieHeader.indexOf(';', start)
    // Browsers send `; ` between cookies: a name after anything else, a tab too, was not set under that name.
    while (cookieHeader.charCodeAt(start) === 0x20) start++
    const equals = start + name.length
    if (cookieHeader.startsWith(name, start) && cookieHeader.charCodeAt(equals) === 0x3d) {
      values.push(trim(cookieHeader.slice(equals + 1, end === -1 ? cookieHeader.length : end)))
    }
  }
  return values
}

/** Of space and tab only. By hand, for `/[ \t]+$/` takes quadratic time on long runs of spaces. */
function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isSpace(text.charCodeAt(start))) start++
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** What names of ours are made of: the configured prefix, base64url, and the number of a chunk. */
const plainName = /^[\w.-]{1,128}$/

/**
 * The cookie names of a header that may be ours, trimmed of space and tab; at most 200 cookies are looked at. A page of a
 * sibling host can plant `__Secure-th-rt-a b`: no Set-Cookie line may name that, so nobody is to clear it.
 */
export function listCookieNames(cookieHeader: string | undefined): string[] {
  if (cookieHeader === undefined) return []
  return cookieHeader
    .split(';', 200)
    .flatMap((pair) => {
      const end = pair.indexOf('=')
      return end === -1 ? [] : [trim(pair.slice(0, end))]
    })
    .filter((name) => plainName.test(name))
}

/**
 * The candidate values of a cookie that may be chunked: those under its own name, or the joined chunks `name.0`, `name.1` …
 * Chunk 0 starts with the number of chunks, so leftovers of a longer value are never read.
 */
export function chunkedCookieValues(cookieHeader: string | undefined, name: string): string[] {
  const whole = cookieValues(cookieHeader, name)
  if (whole.length > 0) return whole
  return cookieValues(cookieHeader, `${name}.0`).flatMap((first) => {
    const count = chunkCount(first)
    if (count === undefined) return []
    let joined = [first.slice(2)]
    for (let index = 1; index < count; index++) {
      const next = cookieValues(cookieHeader, `${name}.${index}`)
      joined = joined.flatMap((start) => next.map((chunk) => start + chunk)).slice(0, maxValuesPerName)
    }
    return joined
  })
}

function chunkCount(firstChunk: string): number | undefined {
  const count = firstChunk.charCodeAt(0) - 0x30
  return firstChunk[1] === '.' && count >= 2 && count <= maxChunks ? count : undefined
}

/** A cookie to set: name, value, and the path that it is sent under. */
export interface NewCookie {
  readonly name: string
  readonly value: string
  readonly path: string
  /** Seconds from now, at least 1; `undefined` makes it end with the browser session. */
  readonly maxAgeSeconds?: number | undefined
}

/**
 * Set-Cookie lines for a cookie, split where its value is too long for one.
 * @returns `undefined` when it needs more than {@link maxChunks} chunks.
 */
export function setCookieLines(cookie: NewCookie): string[] | undefined {
  if (cookie.value.length <= maxChunkBytes) return [setCookieLine(cookie)]
  const count = Math.ceil((cookie.value.length + 2) / maxChunkBytes)
  if (count > maxChunks) return undefined
  const marked = `${count}.${cookie.value}`
  return Array.from({ length: count }, (_, index) =>
    setCookieLine({
      ...cookie,
      name: `${cookie.name}.${index}`,
      value: marked.slice(index * maxChunkBytes, (index + 1) * maxChunkBytes),
    }),
  )
}

/** The names that {@link setCookieLines} uses for a value of this length. */
export function writtenNames(name: string, valueLength: number): string[] {
  if (valueLength <= maxChunkBytes) return [name]
  return Array.from({ length: Math.ceil((valueLength + 2) / maxChunkBytes) }, (_, index) => `${name}.${index}`)
}

/** The plain name and every chunk name that can exist. */
export function allChunkNames(name: string): string[] {
  return [name, ...Array.from({ length: maxChunks }, (_, index) => `${name}.${index}`)]
}

function setCookieLine({ name, value, path, maxAgeSeconds }: NewCookie): string {
  return stringifySetCookie({
    name,
    value,
    path,
    httpOnly: true,
    secure: true,
    sameSite: 'strict',
    ...(maxAgeSeconds === undefined ? {} : { maxAge: Math.max(1, Math.floor(maxAgeSeconds)) }),
  })
}

/** Deletes a cookie: same name, path and attributes, else browsers ignore it (RFC 6265bis section 5.7). */
export function clearCookieLine(name: string, path: string): string {
  return stringifySetCookie({
    name,
    value: '',
    path,
    maxAge: 0,
    expires: new Date(0),
    httpOnly: true,
    secure: true,
    sameSite: 'strict',
  })
}
