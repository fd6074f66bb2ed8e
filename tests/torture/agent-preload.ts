/** Loaded into an agent that talks to the operator's own authorization server: refresh requests take a way with faults. */
const { TORTURE_RELAY: relay = '', TORTURE_AGENT: agent = '' } = process.env
const direct = globalThis.fetch

globalThis.fetch = (target, init) => {
  const body = init?.body
  if (!(body instanceof URLSearchParams) || body.get('grant_type') !== 'refresh_token') return direct(target, init)
  const headers = new Headers(init?.headers)
  headers.set('x-torture-target', target instanceof Request ? target.url : String(target))
  headers.set('x-torture-agent', agent)
  return direct(relay, { ...init, headers })
}
