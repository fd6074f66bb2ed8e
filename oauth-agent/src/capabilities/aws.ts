import { TokenHandlerError } from '@token-handler/shared'

/** Credentials of the SDK's own provider chain. */
interface Credentials {
  readonly expiration?: Date
}

/**
 * Waits for the SDK, but not for ever. Nothing that it says reaches the browser; the log gets the kind of its error only,
 * for messages of credential providers may quote what they read.
 * @throws TokenHandlerError `capability_timeout`, `capability_unavailable`
 */
export async function bounded<T>(timeoutSeconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(timeoutSeconds * 1000)
  const tooLate = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new TokenHandlerError('capability_timeout')))
  })
  try {
    return await Promise.race([work(signal), tooLate])
  } catch (error) {
    if (error instanceof TokenHandlerError) throw error
    if (signal.aborted) throw new TokenHandlerError('capability_timeout')
    const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
    const cause = new Error(`${name ?? 'Error'}, status ${$metadata?.httpStatusCode ?? 'none'}`)
    throw new TokenHandlerError('capability_unavailable', { cause })
  }
}

/**
 * Seconds that something signed with these credentials can be good for: it ends with them.
 * @throws TokenHandlerError `capability_unavailable` when they are as good as over.
 */
export function lifeOf({ expiration }: Credentials, wantedSeconds: number, nowMs: number): number {
  const left = expiration === undefined ? Infinity : Math.floor((expiration.getTime() - nowMs) / 1000)
  const seconds = Math.min(wantedSeconds, left)
  if (seconds >= 1) return seconds
  throw new TokenHandlerError('capability_unavailable', { cause: new Error('the credentials are expired') })
}
