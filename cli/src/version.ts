import { readFileSync } from 'node:fs'

/** Version of the `token-handler` command. */
export const { version: packageVersion } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string }
