import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { ACR_CONFIRMED, ACR_PASSWORD, STEP_UP } from './authentication-context.ts'
import { confirmPage, consentPage, errorPage, loginPage, type Page } from './pages.ts'
import { oidcProvider, type Interaction, type Provider } from './provider.ts'
import type { User } from './server.ts'

const INTERACTION = /^\/interaction\/[\w-]+(\/abort)?$/

/** Whether a request is for the pages below and not for oidc-provider. */
export function isInteraction(req: IncomingMessage): boolean {
  return INTERACTION.test(req.url ?? '')
}

/**
 * Serves what the user sees between the authorization request and its response: `/interaction/<uid>`. oidc-provider binds
 * each one to a cookie of the browser that started it.
 */
export function createInteractions(provider: Provider, users: readonly User[]) {
  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const interaction = await provider.interactionDetails(req, res)
    if (req.method === 'GET') return send(res, 200, pageFor(interaction))
    if (req.method !== 'POST') return send(res, 405, errorPage({ error: 'method_not_allowed' }))
    if (req.url?.endsWith('/abort')) {
      const refusal = { error: 'access_denied', error_description: 'The user cancelled the sign-in.' }
      return provider.interactionFinished(req, res, refusal, { mergeWithLastSubmission: false })
    }
    if (interaction.prompt.name === 'consent') {
      const consent = { grantId: await grantAsked(provider, interaction) }
      return provider.interactionFinished(req, res, { consent })
    }
    if (isStepUp(interaction)) {
      const login = { accountId: accountIdOf(interaction), acr: ACR_CONFIRMED, amr: ['pwd', 'mfa'] }
      return provider.interactionFinished(req, res, { login })
    }
    const form = new URLSearchParams(await text(req))
    const user = users.find((candidate) => candidate.login === form.get('login'))
    if (user === undefined || !isSame(user.password, form.get('password') ?? '')) {
      const error = 'User name or password is wrong.'
      return send(res, 422, loginPage({ ...about(interaction), login: form.get('login') ?? '', error }))
    }
    const login = { accountId: subjectOf(user), acr: ACR_PASSWORD, amr: ['pwd'] }
    return provider.interactionFinished(req, res, { login })
  }

  return async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    try {
      await answer(req, res)
    } catch (error) {
      if (!(error instanceof oidcProvider.errors.SessionNotFound)) throw error
      send(res, 400, errorPage({ error: error.error, description: 'This sign-in has expired. Start again.' }))
    }
  }
}

/** The `sub` of a user. */
export function subjectOf(user: User): string {
  return user.claims.sub ?? user.login
}

function pageFor(interaction: Interaction): Page {
  if (interaction.prompt.name === 'consent')
    return consentPage({ ...about(interaction), scopes: scopesAsked(interaction) })
  if (isStepUp(interaction)) return confirmPage(about(interaction))
  const hint = interaction.params['login_hint']
  return loginPage({ ...about(interaction), ...(typeof hint === 'string' ? { login: hint } : {}) })
}

/** The password was given, now or earlier; only the second step is missing. */
function isStepUp({ prompt, session }: Interaction): boolean {
  return session?.accountId !== undefined && prompt.reasons.every((reason) => reason === STEP_UP)
}

function about({ uid, params }: Interaction): { action: string; client: string; returnUri: string } {
  return {
    action: `/interaction/${uid}`,
    client: String(params['client_id']),
    returnUri: String(params['redirect_uri']),
  }
}

function accountIdOf({ session }: Interaction): string {
  if (session?.accountId === undefined) throw new oidcProvider.errors.SessionNotFound('nobody is signed in')
  return session.accountId
}

interface MissingScopes {
  missingOIDCScope?: string[]
  missingResourceScopes?: Record<string, string[]>
}

function scopesAsked({ prompt }: Interaction): string[] {
  const missing = prompt.details as MissingScopes
  const ofResources = Object.values(missing.missingResourceScopes ?? {}).flat()
  return [...new Set([...(missing.missingOIDCScope ?? []), ...ofResources])]
}

async function grantAsked(provider: Provider, interaction: Interaction): Promise<string> {
  const missing = interaction.prompt.details as MissingScopes
  const grant = new provider.Grant({
    accountId: accountIdOf(interaction),
    clientId: String(interaction.params['client_id']),
  })
  grant.addOIDCScope((missing.missingOIDCScope ?? []).join(' '))
  for (const [resource, scopes] of Object.entries(missing.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '))
  }
  return grant.save()
}

function digest(value: string): Buffer {
  return createHash('sha256').update(value).digest()
}

function isSame(expected: string, given: string): boolean {
  return timingSafeEqual(digest(expected), digest(given))
}

function send(res: ServerResponse, status: number, page: Page): void {
  res.writeHead(status, page.headers).end(page.html)
}
