/** An answer of agent or proxy, read to its end. */
export interface Answer {
  readonly status: number
  /** The agent's `error_code` or the proxy's `code`. */
  readonly code: string | undefined
  readonly json: Readonly<Record<string, unknown>>
  readonly setCookies: readonly string[]
}

/** A call of the SPA with exactly this Cookie header, whatever a browser would send. */
export async function callWith(
  cookie: string,
  url: string | URL,
  {
    method = 'GET',
    body,
    origin = new URL(url).origin,
    headers = {},
  }: { method?: string; body?: URLSearchParams; origin?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    headers: { origin, 'token-handler-version': '1', ...(cookie === '' ? {} : { cookie }), ...headers },
    ...(body === undefined ? {} : { body }),
  })
  const text = await response.text()
  const json = (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown>
  const code = json['error_code'] ?? json['code']
  return {
    status: response.status,
    code: typeof code === 'string' ? code : undefined,
    json,
    setCookies: response.headers.getSetCookie(),
  }
}
