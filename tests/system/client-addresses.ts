import { expect } from '@jest/globals'
import { exchange, rawRequest } from '../support/raw-client.ts'

/** Where requests are sent, how, and after how many of one address they are refused. */
export interface LimitedRequests {
  readonly port: number
  readonly requestLine: string
  readonly headers: readonly string[]
  readonly limit: number
}

/**
 * Holds when requests behind a gateway count for the address that they come from: neither for the gateway's, which all of
 * them would share, nor for the one that the client claims.
 */
export async function expectClientsToldApart(requests: LimitedRequests): Promise<void> {
  const claims = Array.from({ length: requests.limit + 1 }, (_, index) => `192.0.2.${index + 1}`)
  expect(await countRefused(requests, '127.0.0.77', claims)).toBe(1)
  expect(await countRefused(requests, '127.0.0.78', ['127.0.0.77', '127.0.0.77, 127.0.0.77'])).toBe(0)
}

/** Sends a request for each claim, all from one address. */
async function countRefused(
  { port, requestLine, headers }: LimitedRequests,
  from: string,
  claims: readonly string[],
): Promise<number> {
  let refused = 0
  for (const claim of claims) {
    const bytes = rawRequest(requestLine, [...headers, `X-Forwarded-For: ${claim}`, `X-Real-IP: ${claim}`])
    const { body } = await exchange(port, bytes, { from })
    if (body.includes('too_many_requests')) refused += 1
  }
  return refused
}
