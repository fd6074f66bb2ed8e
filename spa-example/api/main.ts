/** The example API alone: `ISSUER` has to be set; `API_HOST`, `API_PORT`, `AUDIENCE` and `JWKS_URI` may be. */
import { parsePort, readEnvironment, runUntilStopped } from '../environment.ts'
import { startExampleApi } from './server.ts'

await runUntilStopped('example API', async () => {
  const env = readEnvironment(process.env, {
    API_HOST: '127.0.0.1',
    API_PORT: '3200',
    ISSUER: undefined,
    AUDIENCE: 'urn:example:api',
  })
  return startExampleApi({
    host: env.API_HOST,
    port: parsePort('API_PORT', env.API_PORT),
    issuer: env.ISSUER,
    audience: env.AUDIENCE,
    ...(process.env['JWKS_URI'] ? { jwksUri: process.env['JWKS_URI'] } : {}),
  })
})
