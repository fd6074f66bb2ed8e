import type { Provider } from './provider.ts'

/** The part of a logger that is used here; pino's fits. */
export interface ProblemLogger {
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

const REFUSALS = [
  'authorization.error',
  'end_session.error',
  'grant.error',
  'introspection.error',
  'pushed_authorization_request.error',
  'revocation.error',
  'userinfo.error',
] as const

/** HTTP answers hide the reason of a refusal (`error_detail`); the events have it. */
export function logProblems(provider: Provider, logger: ProblemLogger | undefined): void {
  if (logger === undefined) return
  for (const event of REFUSALS) {
    // The overloads name each event alone, so a union of them fits none.
    provider.on(event as 'grant.error', (ctx, error) => {
      logger.warn({ path: ctx.path, error: error.error, detail: error.error_detail ?? error.message }, event)
    })
  }
  provider.on('server_error', (ctx, error) => logger.error({ path: ctx.path, error }, 'server_error'))
  provider.on('backchannel.error', (_ctx, error, client) => {
    logger.warn({ clientId: client.clientId, error: error.message }, 'backchannel.error')
  })
}
