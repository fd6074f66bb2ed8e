import type { AddressInfo } from 'node:net'
import { expect, it } from '@jest/globals'
import { fixedKeys, startTokenHandler } from '@token-handler/cli'
import { checkConfig, generateKeyFile, silentLogger } from '@token-handler/shared'
import { ScriptedAuthorizationServer } from '../support/scripted-authorization-server.ts'

it('every authorization request has the parameters of the configuration file', async () => {
  const server = await ScriptedAuthorizationServer.start()
  const { issuer, clientId } = server
  const config = checkConfig({
    public_url: 'http://localhost:3000',
    listen: { port: 0 },
    authorization_server: {
      issuer,
      client_id: clientId,
      client_authentication: { method: 'client_secret_basic', client_secret: 's' },
      redirect_uri: 'http://localhost:3000/callback',
      authorization_parameters: { audience: 'https://api.example.com' },
    },
    keys: { file: 'none' },
    ledger: { type: 'memory' },
  })
  const keys = fixedKeys(generateKeyFile(new Date()), { issuer, clientId })
  const running = await startTokenHandler({ config, keys, logger: silentLogger })
  const { port } = running.server.address() as AddressInfo
  const answer = await fetch(`http://127.0.0.1:${port}/oauth-agent/login/start`, {
    method: 'POST',
    headers: { 'token-handler-version': '1', origin: 'http://localhost:3000' },
  })
  const { authorization_url: url } = (await answer.json()) as { authorization_url: string }
  await running.close()
  await server.close()
  expect(new URL(url).searchParams.get('audience')).toBe('https://api.example.com')
})
