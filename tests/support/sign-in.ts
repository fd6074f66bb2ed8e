import { CookieJar } from './cookie-jar.ts'

/** What `signIn` needs to know. */
export interface SignInOptions {
  /** The authorization request (RFC 6749 section 4.1.1). */
  authorizationUrl: string | URL
  /** Default `demo`. */
  login?: string
  /** Default `demo`. */
  password?: string
  /** Where the flow ends. It is not requested. */
  redirectUri: string
  /** The browser's cookies at the authorization server. Default: a new browser. Keep one to have a session there. */
  jar?: CookieJar
}

interface Answer {
  url: URL
  status: number
  location: URL | undefined
  html: string
}

const MAX_STEPS = 20

/**
 * A browser without scripts at the authorization server's pages: follows redirects, fills in `login` and `password`, and
 * submits the first form of every page as it is.
 * @returns The authorization response: the redirect URI with `code`, `state`, `iss`, or with `error`.
 * @throws Error with the page's text when the flow ends anywhere else.
 */
export async function signIn({
  authorizationUrl,
  login = 'demo',
  password = 'demo',
  redirectUri,
  jar = new CookieJar(),
}: SignInOptions): Promise<URL> {
  const isEnd = (url: URL | undefined): url is URL => url !== undefined && isAt(url, redirectUri)
  return walk(jar, new URL(authorizationUrl), isEnd, { login, password })
}

/**
 * The same browser at the end-session endpoint (OpenID Connect RP-Initiated Logout 1.0).
 * @returns The post-logout redirect URI with `state`.
 */
export async function signOut({
  logoutUrl,
  postLogoutRedirectUri,
  jar,
}: {
  logoutUrl: string | URL
  postLogoutRedirectUri: string
  jar: CookieJar
}): Promise<URL> {
  const isEnd = (url: URL | undefined): url is URL => url !== undefined && isAt(url, postLogoutRedirectUri)
  return walk(jar, new URL(logoutUrl), isEnd, {})
}

async function walk(
  jar: CookieJar,
  start: URL,
  isEnd: (url: URL | undefined) => url is URL,
  fields: Record<string, string>,
): Promise<URL> {
  let answer = await request(jar, start)
  let wasFilled = false
  for (let step = 0; step < MAX_STEPS; step++) {
    if (isEnd(answer.location)) return answer.location
    if (answer.location !== undefined) {
      answer = await request(jar, answer.location)
      continue
    }
    const form = firstForm(answer)
    const isLogin = form?.body.has('password') ?? false
    if (form === undefined || (isLogin && wasFilled)) throw new Error(`stopped at ${answer.status}: ${textOf(answer)}`)
    wasFilled ||= isLogin
    for (const [name, value] of Object.entries(fields)) if (form.body.has(name)) form.body.set(name, value)
    answer = await request(jar, form.action, form.body)
  }
  throw new Error(`no end after ${MAX_STEPS} steps, last at ${answer.url.pathname}`)
}

async function request(jar: CookieJar, url: URL, body?: URLSearchParams): Promise<Answer> {
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { accept: 'text/html', cookie: jar.header(url) },
    redirect: 'manual',
    ...(body === undefined ? {} : { body }),
  })
  jar.store(url, response.headers.getSetCookie())
  const location = response.headers.get('location')
  return {
    url,
    status: response.status,
    location: location === null ? undefined : new URL(location, url),
    html: await response.text(),
  }
}

function firstForm({ html, url }: Answer): { action: URL; body: URLSearchParams } | undefined {
  const [, attributes = '', content = ''] = /<form\b([^>]*)>(.*?)<\/form>/is.exec(html) ?? []
  if (attributes === '') return undefined
  const body = new URLSearchParams()
  for (const [, input = ''] of content.matchAll(/<input\b([^>]*)>/gi)) {
    const name = attribute(input, 'name')
    if (name !== undefined) body.append(name, attribute(input, 'value') ?? '')
  }
  return { action: new URL(attribute(attributes, 'action') ?? '', url), body }
}

function attribute(text: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`, 'i').exec(text)?.[1]
  return value === undefined ? undefined : decodeEntities(value)
}

function textOf({ html }: Answer): string {
  const body = html.replace(/<(style|head)\b.*?<\/\1>/gis, '').replace(/<[^>]*>/g, ' ')
  return decodeEntities(body).replace(/\s+/g, ' ').trim()
}

function decodeEntities(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return text.replace(/&(?:#(\d+)|(\w+));/g, (whole: string, code?: string, name?: string) =>
    code === undefined ? (named[name ?? ''] ?? whole) : String.fromCodePoint(Number(code)),
  )
}

function isAt(url: URL, target: string): boolean {
  const { origin, pathname } = new URL(target)
  return url.origin === origin && url.pathname === pathname
}
