import { TokenHandlerClientError } from '@token-handler/client'

/** An error as the banner shows it. */
export interface Problem {
  readonly code: string
  readonly message: string
  /** What to do about it. */
  readonly hint: string
}

/** The API answered with an error of its own, which the library passes on untouched. */
export class ApiError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** The JSON of an API's answer. @throws ApiError when the status is not 2xx */
export async function readAnswer(response: Response): Promise<unknown> {
  const body: unknown = await response.json().catch(() => undefined)
  if (response.ok) return body
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  const code = fields['code'] ?? fields['error']
  const message = fields['message'] ?? fields['error_description']
  throw new ApiError(
    typeof code === 'string' ? code : `http_${response.status}`,
    typeof message === 'string' ? message : `The API answered ${response.status}.`,
  )
}

const HINTS: Readonly<Record<string, string>> = {
  session_missing: 'Log in again to go on.',
  session_expired: 'Log in again to go on.',
  session_ended: 'It was ended on purpose: by a logout, or by an administrator. Log in again to go on.',
  session_superseded: 'These cookies were replaced by newer ones. Log in again.',
  store_unavailable: 'The session is kept. Try again in a few seconds.',
  refresh_pending: 'The session is kept. Try again in a few seconds.',
  network_error: 'Is the server running, and are you online?',
  timeout: 'Is the server running, and are you online?',
  untrusted_origin: 'Add this page’s origin to the configuration of the Token Handler.',
  missing_header: 'A proxy in between drops the header token-handler-version.',
  step_up_required: 'Log in again with a second step.',
  user_changed: 'Do again what you wanted to do, if it is still what you want.',
  storage_unreachable: 'Is the storage running, and does the page’s policy let it connect there?',
  storage_refused: 'The storage checks what the capability was issued for: this object, type and size.',
  storage_stalled: 'The connection to the storage may be gone. Try again.',
  insufficient_scope: 'The route asks for a scope that this login did not get.',
}

/** Any thrown value as something to show. */
export function toProblem(error: unknown): Problem {
  const known = error instanceof TokenHandlerClientError || error instanceof ApiError
  const code = known ? error.code : 'network_error'
  const message = known ? error.message : 'The request did not get through.'
  return { code, message, hint: HINTS[code] ?? 'The code is explained in docs/errors.md.' }
}
