import { createTokenHandlerClient, type Session, type TokenHandlerClient } from '@token-handler/client'
import { useEffect, useState, useSyncExternalStore } from 'react'

/** The app's only way to the agent and to the API. */
export const client: TokenHandlerClient = createTokenHandlerClient()

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
