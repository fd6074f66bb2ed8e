import type { Logger } from '@token-handler/shared'
import { UnansweredError, type BoundedAnswer } from './bounded-fetch.ts'
import { isInstant, protectedHeader, unverifiedPayload } from './id-token.ts'
import type { SigningKeys } from './signing-keys.ts'
import { oauthErrorOf, parseTokenAnswer, withoutIdToken, type TokenAnswer } from './token-answer.ts'

/** What one call to the authorization server was seen to do, whatever the protocol library makes of it. */
export interface Transcript {
  answer?: BoundedAnswer
  tokens?: TokenAnswer
  failure?: UnansweredError
}

export interface RecordedCall {
  /** Sends what is not answered from here. */
  readonly send: (url: string, init: RequestInit) => Promise<BoundedAnswer>
  readonly transcript: Transcript
  /** Sent in place of what the library makes of it: it normalises the URL and drops its query. */
  readonly redirectUri: string
  readonly signingKeys: SigningKeys
  /** Leave an ID token aside for which no key can be had. Only where the session does not hang on it. */
  readonly isIdTokenOptional: boolean
  readonly logger: Logger
}

/** The `fetch` of one call: bounded, written down, and with answers that the library cannot stumble over. */
export function recordedFetch(call: RecordedCall): (url: string, init: RequestInit) => Promise<Response> {
  const { send, transcript, redirectUri, signingKeys } = call
  return async (url, init) => {
    // The call itself is posted. All that the library gets are keys; by their address they are not known, for it is normalised.
    if (init.method === 'GET') return jsonResponse(await signingKeys.for(keyIdOf(transcript.tokens)))
    const { body } = init
    if (body instanceof URLSearchParams && body.has('redirect_uri')) body.set('redirect_uri', redirectUri)
    try {
      transcript.answer = await send(url, init)
    } catch (error) {
      if (error instanceof UnansweredError) transcript.failure = error
      throw error
    }
    const { answer } = transcript
    const tokens = answer.status === 200 ? parseTokenAnswer(answer.text) : undefined
    if (tokens === undefined) return toResponse(answer)
    transcript.tokens = tokens
    return toResponse({ ...answer, text: (await isToBeLeftAside(call, tokens)) ? withoutIdToken(tokens) : tokens.text })
  }
}

/** The OAuth error of an answer that is an error; a 200 that says `error` is garbage. */
export function refusalOf({ answer }: Transcript): string | undefined {
  return answer !== undefined && answer.status >= 400 ? oauthErrorOf(answer.text) : undefined
}

/**
 * The instant by which the times in a refreshed ID token are judged, seconds since 1970: ours, or that of the answer (RFC
 * 9110 section 6.6.1) where the token says that it was made nearer to it. The refresh token is spent by then, so a clock of
 * ours that was set wrong would end every session; an old token is old by either.
 */
export function judgedAt({ answer, tokens }: Transcript, ours: number): number {
  const iat = tokens?.idToken === undefined ? undefined : unverifiedPayload(tokens.idToken)?.['iat']
  if (answer?.date === undefined || !isInstant(iat)) return ours
  const theirs = Math.floor(answer.date.getTime() / 1000)
  return Math.abs(iat - theirs) < Math.abs(iat - ours) ? theirs : ours
}

/** An answer for the library; of the headers it gets the media type, so that no challenge hides the OAuth error. */
export function toResponse({ status, mediaType, text }: BoundedAnswer): Response {
  const hasBody = status >= 200 && ![204, 205, 304].includes(status)
  return new Response(hasBody ? text : null, { status, headers: { 'content-type': mediaType } })
}

/** Keys that cannot be had for a moment are no reason to lose a session. */
async function isToBeLeftAside(
  { isIdTokenOptional, signingKeys, logger }: RecordedCall,
  tokens: TokenAnswer,
): Promise<boolean> {
  if (!isIdTokenOptional || tokens.idToken === undefined) return false
  if (await signingKeys.canServe(keyIdOf(tokens))) return false
  logger.warn({ event: 'signing_keys_unavailable' }, 'The refreshed ID token is left aside.')
  return true
}

function keyIdOf(tokens: TokenAnswer | undefined): string | undefined {
  const kid = tokens?.idToken === undefined ? undefined : protectedHeader(tokens.idToken)?.['kid']
  return typeof kid === 'string' ? kid : undefined
}

function jsonResponse(value: unknown): Response {
  return new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } })
}
