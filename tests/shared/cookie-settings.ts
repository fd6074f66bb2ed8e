import { cookieNames, type CookieNames, type CookieSettings } from '@token-handler/shared'

export const settings: CookieSettings = {
  prefix: 'th',
  accessTokenPath: '/api',
  agentPath: '/oauth-agent',
  persistent: true,
  headerBudgetBytes: 7168,
  responseBudgetBytes: 3891,
}

export const names: CookieNames = cookieNames(settings)
