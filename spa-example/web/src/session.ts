import { createTokenHandlerClient, type Session, type TokenHandlerClient } from '@token-handler/client'
import { useEffect, useState, useSyncExternalStore } from 'react'

/** Where the agent is: the server writes it on the page when that is not this very origin. */
const agentUrl = new URL(document.documentElement.dataset['agentUrl'] ?? '/oauth-agent', location.href)

/** The app's only way to the agent and to the API. */
export const client: TokenHandlerClient = createTokenHandlerClient({ agentUrl, apiOrigins: [agentUrl.origin] })

/** A path of the agent's host, which is the API's too, as a URL. */
export function backendUrl(path: string): string {
  return new URL(path, agentUrl).href
}

/** The session as last heard of; undefined until the first answer. */
export function useSession(): Session | undefined {
  return useSyncExternalStore(
    (changed) => client.on('session', changed),
    () => client.current,
  )
}

/** `performance.now()`, anew every second. */
export function useNow(): number {
  const [now, setNow] = useState(() => performance.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  return now
}
