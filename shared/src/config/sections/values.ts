import { z } from 'zod'

/** Kinds of values that several sections hold. */

export const seconds = (fallback: number, min = 1, max = 31_536_000) => z.int().min(min).max(max).default(fallback)

/** What a timer of Node.js can wait for, in round figures; above 2^31 - 1 ms it ends at once. */
export const longestTimerSeconds = 2_000_000

export const timeoutSeconds = (fallback: number) => seconds(fallback, 1, longestTimerSeconds)

/** No server means white space at the ends of a secret: mostly it is the line end that `echo` added. */
export const secretText = z
  .string()
  .refine((text) => !/^\s|[\r\n]|\s$/.test(text), 'must have no line end, and no space before or after it')

export const httpUrl = z.string().refine(isHttpUrl, 'must be an absolute http or https URL')

/** Host names as they are in use: the URL standard also takes `*` and the like. */
function isHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  return /^https?:$/.test(protocol) && /^(?:[A-Za-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(hostname)
}

export const origin = httpUrl.refine(isHttpOrigin, {
  error: 'must be an origin: scheme, host and optional port in lower case, without path or trailing slash',
})

/** An origin of WebSockets, such as `wss://feeds.example.com`. */
export const socketOrigin = z
  .string()
  .refine((text) => /^wss?:/.test(text) && isHttpOrigin(text.replace(/^ws/, 'http')))

function isHttpOrigin(text: string): boolean {
  return isHttpUrl(text) && new URL(text).origin === text
}

export const publicPath = z
  .string()
  .refine((text) => text === '/' || /^(?:\/(?!\.\.?(?:\/|$))[A-Za-z0-9._~-]+)+$/.test(text), {
    error:
      'must be a path such as /api: it starts with a slash and has no trailing slash, dot segment, query or escape',
  })

export const parameterName = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be a parameter name')

export const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope, without spaces')

export const roleName = z.string().regex(/^[A-Za-z0-9._:-]{1,64}$/, 'must be 1 to 64 letters, digits or . _ : -')

export const rateLimitFields = {
  requests: z.int().min(1).max(1_000_000).describe('Requests in one window.'),
  window_seconds: seconds(60, 1, 3600).describe('Length of the window.'),
}
