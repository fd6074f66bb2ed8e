import { z } from 'zod'
import { hiddenClaims } from '../../hidden-claims.ts'
import { parameterName, rateLimitFields } from './values.ts'

const shownClaim = z
  .string()
  .min(1)
  .refine((name) => !hiddenClaims.includes(name), `is a claim that no page may see, as are ${hiddenClaims.join(', ')}`)

export const agent = z
  .strictObject({
    authorization_parameters: z
      .array(parameterName)
      .default([])
      .describe(
        'Parameters the SPA may add to an authorization request, besides scope, prompt, ui_locales, login_hint, acr_values and max_age.',
      ),
    refresh_parameters: z.array(parameterName).default([]).describe('Form fields the SPA may add to a refresh.'),
    id_token_claims: z
      .array(shownClaim)
      .default(['sub', 'name', 'preferred_username', 'email', 'email_verified', 'picture', 'auth_time', 'acr', 'amr'])
      .describe('ID-token claims that the session answer shows to the SPA.'),
    detailed_errors: z.boolean().default(false).describe('Send detailed_error with errors; for development.'),
    on_superseded: z
      .enum(['refuse', 'end_session'])
      .default('refuse')
      .describe('What a replaced cookie that is shown again leads to.'),
    rate_limit: z
      .strictObject({
        enabled: z
          .boolean()
          .default(true)
          .describe('Limit how often one client address may call the agent; more is answered 429.'),
        // Ten thousand people behind one address, each with a refresh every two minutes.
        requests: rateLimitFields.requests
          .default(6000)
          .describe(
            'Logins begun and ended, refreshes and capabilities together; session may be asked ten times as often.',
          ),
        window_seconds: rateLimitFields.window_seconds,
      })
      .prefault({}),
    logout: z
      .strictObject({
        id_token_hint: z
          .boolean()
          .default(false)
          .describe('Log out through a redirect of the agent that carries an id_token_hint, which the SPA never sees.'),
        logout_hint_claim: shownClaim
          .optional()
          .describe(
            'ID-token claim that logout_url carries as logout_hint, such as login_hint or email, which the SPA so sees. None unless given; of no use with id_token_hint.',
          ),
      })
      .prefault({}),
  })
  .prefault({})
