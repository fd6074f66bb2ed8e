import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { deniedRequestHeaders } from '@token-handler/oauth-proxy'
import { withDeniedHeaders } from '../../tools/gateways/haproxy.ts'
import { repository } from '../support/compose.ts'

const recipe = readFileSync(join(repository, 'deploy/haproxy/haproxy.cfg'), 'utf8')

describe('deploy/haproxy/haproxy.cfg', () => {
  it('takes away what the OAuth Proxy denies (node --conditions=token-handler-source tools/gateways/haproxy.ts)', () => {
    expect(withDeniedHeaders(recipe)).toBe(recipe)
    const rules = [...recipe.matchAll(/^ {2}http-request del-header (\S+) -m reg$/gm)].map(([, regex = '']) => regex)
    const isTaken = (name: string): boolean => rules.some((regex) => new RegExp(regex).test(name))
    const stays = deniedRequestHeaders.filter((name) => !isTaken(name.replace('*', 'x')))
    expect(stays).toEqual([
      'connection',
      'transfer-encoding',
      'upgrade',
      'host',
      'content-length',
      'expect',
      'cookie',
      'authorization',
      'sec-websocket-*',
    ])
    expect(
      ['accept', 'user-agent', 'x-requested-with', 'x-api-key', 'traceparent', 'if-match'].filter(isTaken),
    ).toEqual([])
  })
})
