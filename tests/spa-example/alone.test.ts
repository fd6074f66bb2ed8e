import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { expect, it } from '@jest/globals'

const AUTHORIZATION_SERVER = 'spa-example/authorization-server/main.ts'
const API = 'spa-example/api/main.ts'

const CLIENT = {
  CLIENT_ID: 'composed',
  CLIENT_SECRET: 'a-secret-from-outside-of-the-repository',
  REDIRECT_URI: 'http://localhost:3000/callback',
  POST_LOGOUT_REDIRECT_URI: 'http://localhost:3000/',
}

function run(main: string, env: Record<string, string>) {
  return spawn(process.execPath, ['--conditions=token-handler-source', main], {
    env: { PATH: process.env['PATH'], ...env },
  })
}

async function failure(main: string, env: Record<string, string>): Promise<string> {
  const child = run(main, env)
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'exit')])
  expect(child.exitCode).toBe(1)
  return stderr
}

it('the authorization server names every variable that is missing', async () => {
  const { CLIENT_ID, REDIRECT_URI } = CLIENT
  expect(await failure(AUTHORIZATION_SERVER, { CLIENT_ID, REDIRECT_URI })).toBe(
    'authorization server: missing environment variables: CLIENT_SECRET, POST_LOGOUT_REDIRECT_URI\n',
  )
})

it('the API names the variable that is missing', async () => {
  expect(await failure(API, {})).toBe('example API: missing environment variables: ISSUER\n')
})

it('a port that is none is refused by name', async () => {
  expect(await failure(AUTHORIZATION_SERVER, { ...CLIENT, AS_PORT: 'http' })).toBe(
    'authorization server: AS_PORT is not a port: http\n',
  )
})

it.each([
  ['authorization server', AUTHORIZATION_SERVER, { ...CLIENT, AS_PORT: '0' }, '/.well-known/openid-configuration', 200],
  ['example API', API, { ISSUER: 'http://127.0.0.1:9', API_PORT: '0' }, '/api/me', 401],
])('the %s runs alone and stops on SIGTERM', async (name, main, env, path, status) => {
  const child = run(main, env)
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const [, url] = new RegExp(`^${name} on (http://127\\.0\\.0\\.1:\\d+)$`).exec(line) ?? []
  expect((await fetch(url + path)).status).toBe(status)
  child.kill('SIGTERM')
  await once(child, 'exit')
  expect(child.exitCode).toBe(0)
})
