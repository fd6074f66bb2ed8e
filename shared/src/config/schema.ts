import { z } from 'zod'
import { admin } from './sections/admin.ts'
import { agent } from './sections/agent.ts'
import { audit } from './sections/audit.ts'
import { authorizationServer } from './sections/authorization-server.ts'
import { capabilities, capabilitySigning, roles } from './sections/capabilities.ts'
import { context } from './sections/context.ts'
import { cookies } from './sections/cookies.ts'
import { forwardAuth } from './sections/forward-auth.ts'
import { ledger } from './sections/ledger.ts'
import { publicListen } from './sections/listeners.ts'
import { login } from './sections/login.ts'
import { proxy } from './sections/proxy.ts'
import { session } from './sections/session.ts'
import { spa } from './sections/spa.ts'
import { origin, seconds } from './sections/values.ts'

/**
 * The configuration file `token-handler.yaml`: this schema is its type, its defaults, its check, and the JSON Schema in
 * docs/. Keys that it does not know are refused; no secret has a default. Each section has a file in sections/.
 */

export const configSchema = z
  .strictObject({
    public_url: origin.describe('Origin under which browsers reach agent and proxy.'),
    trusted_origins: z.array(origin).min(1).optional().describe('Origins of the SPA; the public_url unless given.'),
    listen: publicListen.prefault({}),
    admin: admin
      .optional()
      .describe('Listener for /livez, /readyz, /metrics, /admin/* and /operations; never the public one.'),
    shutdown_seconds: seconds(25, 0, 600).describe('After SIGTERM, how long open requests may go on.'),
    authorization_server: authorizationServer,
    agent,
    login,
    audit,
    cookies,
    session,
    tokens: z
      .enum(['cookie', 'ledger', 'auto'])
      .default('cookie')
      .describe(
        'Where access tokens are: cookie; ledger, sealed under a key that only the cookie holds; auto is cookie where it fits, else ledger.',
      ),
    context,
    keys: z.strictObject({ file: z.string().min(1).describe('Key file, made by `token-handler keys generate`.') }),
    ledger,
    proxy,
    roles,
    capabilities,
    capability_signing: capabilitySigning.optional(),
    forward_auth: forwardAuth.optional(),
    spa: spa.optional(),
    log: z
      .strictObject({
        level: z
          .enum(['debug', 'info', 'warn', 'error', 'silent'])
          .default('info')
          .describe('Least level that is logged.'),
      })
      .prefault({}),
  })
  .describe('Configuration of the Token Handler')

/** The checked configuration, with every default filled in. */
export type Config = z.output<typeof configSchema>
/** What a file may hold. */
export type ConfigInput = z.input<typeof configSchema>
