/**
 * The demo authorization server alone, for a composition of containers. `CLIENT_ID`, `CLIENT_SECRET`, `REDIRECT_URI` and
 * `POST_LOGOUT_REDIRECT_URI` have to be set; `AS_HOST`, `AS_PORT`, `AS_ISSUER`, `API_AUDIENCE` and
 * `BACKCHANNEL_LOGOUT_URI` may be.
 */
import { parsePort, readEnvironment, runUntilStopped } from '../environment.ts'
import { startAuthorizationServer } from './server.ts'

const logger = {
  warn: (details: object, message: string): void => console.warn(message, details),
  error: (details: object, message: string): void => console.error(message, details),
}

await runUntilStopped('authorization server', async () => {
  const env = readEnvironment(process.env, {
    AS_HOST: '127.0.0.1',
    AS_PORT: '3100',
    CLIENT_ID: undefined,
    CLIENT_SECRET: undefined,
    REDIRECT_URI: undefined,
    POST_LOGOUT_REDIRECT_URI: undefined,
    API_AUDIENCE: 'urn:example:api',
  })
  const { AS_ISSUER: issuer, BACKCHANNEL_LOGOUT_URI: backchannelLogoutUri } = process.env
  const server = await startAuthorizationServer({
    host: env.AS_HOST,
    port: parsePort('AS_PORT', env.AS_PORT),
    ...(issuer ? { issuer } : {}),
    clients: {
      clientId: env.CLIENT_ID,
      clientSecret: env.CLIENT_SECRET,
      redirectUris: [env.REDIRECT_URI],
      postLogoutRedirectUris: [env.POST_LOGOUT_REDIRECT_URI],
      ...(backchannelLogoutUri ? { backchannelLogoutUri } : {}),
    },
    apiAudience: env.API_AUDIENCE,
    logger,
  })
  return { url: server.issuer, close: () => server.close() }
})
