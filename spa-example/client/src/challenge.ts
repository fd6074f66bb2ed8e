import { StepUpRequiredError } from './errors.ts'
import type { RepeatableRequest } from './repeatable-request.ts'

/**
 * What a 401 with an RFC 9470 challenge asks for, of the proxy, the agent or an API behind the proxy.
 * @returns undefined for any other answer.
 */
export function stepUpAskedBy(response: Response, request?: RepeatableRequest): StepUpRequiredError | undefined {
  const challenge = response.headers.get('www-authenticate') ?? ''
  const parameter = (name: string): string | undefined => {
    const [, quoted, token] = new RegExp(`\\b${name}=(?:"([^"]*)"|([^\\s,]+))`, 'i').exec(challenge) ?? []
    return quoted ?? token
  }
  if (response.status !== 401 || parameter('error') !== 'insufficient_user_authentication') return undefined
  const acrValues = parameter('acr_values')?.split(' ').filter(Boolean) ?? []
  const maxAge = Number.parseInt(parameter('max_age') ?? '', 10)
  return new StepUpRequiredError(
    { acrValues, ...(maxAge >= 0 ? { maxAge } : {}) },
    request?.repeatable === true ? request.build() : undefined,
  )
}
