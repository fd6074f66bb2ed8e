import type * as OidcProvider from 'oidc-provider'

/** What `import 'oidc-provider'` gives. */
export type { Adapter, AdapterPayload, Configuration, Interaction, KoaContextWithOIDC } from 'oidc-provider'
export type Provider = OidcProvider.default

/**
 * oidc-provider warns about Node releases without a long-term-support name, at import, where nobody can act on it. Only
 * that line is dropped; whatever else is written in the meantime passes.
 */
async function importQuietly(): Promise<typeof OidcProvider> {
  const warn = console.warn
  console.warn = (...line: unknown[]): void => {
    if (!String(line[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn(...line)
  }
  try {
    return await import('oidc-provider')
  } finally {
    console.warn = warn
  }
}

export const oidcProvider: typeof OidcProvider = await importQuietly()
