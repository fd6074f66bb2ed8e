import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { deniedRequestHeaders } from '@token-handler/oauth-proxy'

/** What HAProxy itself, the lines above the list, or the Token Handler's answer say, so that it must stay. */
const written = new Set(
  'host connection upgrade transfer-encoding content-length expect cookie authorization sec-websocket-*'.split(' '),
)
const longestLine = 118

/** Rules that take away what the OAuth Proxy denies, in its order. */
function deletingRules(): string {
  const patterns = deniedRequestHeaders
    .filter((name) => !written.has(name))
    .map((name) => (name.endsWith('*') ? name.slice(0, -1) : `${name}$`))
  const rules: string[] = []
  let alternatives: string[] = []
  for (const pattern of patterns) {
    if (rule([...alternatives, pattern]).length > longestLine) rules.push(rule(alternatives.splice(0)))
    alternatives.push(pattern)
  }
  return [...rules, rule(alternatives)].join('')
}

const rule = (alternatives: readonly string[]): string =>
  `  http-request del-header ^(${alternatives.join('|')}) -m reg\n`

/** deploy/haproxy/haproxy.cfg with these rules. */
export function withDeniedHeaders(recipe: string): string {
  return recipe.replace(
    /(?<=# denied: [^\n]*\n).*?(?= {2}# end of denied\n)/s,
    // A function, because patterns hold `$`.
    () => deletingRules(),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = new URL('../../deploy/haproxy/haproxy.cfg', import.meta.url)
  writeFileSync(file, withDeniedHeaders(readFileSync(file, 'utf8')))
}
