import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import * as client from 'openid-client'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import {
  DEMO_USER,
  startAuthorizationServer,
  type AuthorizationServer,
} from '../../spa-example/authorization-server/server.ts'
import { launchBrowser } from '../support/browser.ts'
import { AUDIENCE, discover, SCOPE } from './code-flow.ts'

let browser: Browser
let context: BrowserContext
let page: Page
let spa: Server
let origin: string
let server: AuthorizationServer
let config: client.Configuration
const violations: string[] = []

beforeAll(async () => {
  spa = createServer((_req, res) => res.setHeader('content-type', 'text/html').end('<!doctype html><title>spa</title>'))
  await new Promise<void>((resolve) => spa.listen(0, '127.0.0.1', resolve))
  // Another site than the authorization server's 127.0.0.1, so that the form leads across sites.
  origin = `http://localhost:${(spa.address() as AddressInfo).port}`
  server = await startAuthorizationServer({
    clients: { redirectUris: [`${origin}/callback`], postLogoutRedirectUris: [`${origin}/`] },
    apiAudience: AUDIENCE,
    users: [DEMO_USER, { login: 'second', password: 'second', claims: { name: 'Second User' } }],
  })
  config = await discover(server, 'secret')
  browser = await launchBrowser()
  context = await browser.newContext()
  page = await context.newPage()
  page.on('console', (message) => {
    if (message.type() === 'error') violations.push(message.text())
  })
}, 60_000)

afterAll(async () => {
  await browser?.close()
  await server.close()
  spa.close()
})

/** @returns The code verifier. */
async function open(parameters: Record<string, string> = {}): Promise<string> {
  const codeVerifier = client.randomPKCECodeVerifier()
  const code_challenge = await client.calculatePKCECodeChallenge(codeVerifier)
  const redirect_uri = `${origin}/callback`
  const request = {
    redirect_uri,
    scope: SCOPE,
    state: 's',
    code_challenge,
    code_challenge_method: 'S256',
    ...parameters,
  }
  await page.goto(client.buildAuthorizationUrl(config, request).href)
  return codeVerifier
}

async function submit(login: string, password: string): Promise<void> {
  await page.getByLabel('User name').fill(login)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

it('leads through sign-in, step-up, consent and sign-out within its content security policy', async () => {
  await open()
  await submit('demo', 'wrong')
  expect(await page.getByRole('alert').textContent()).toBe('User name or password is wrong.')
  // The answer 422 itself is what Chromium reports as an error.
  violations.length = 0
  await submit('demo', 'demo')
  await page.waitForURL(`${origin}/callback?*`)
  expect(new URL(page.url()).searchParams.has('code')).toBe(true)

  await open({ acr_values: 'urn:example:mfa', prompt: 'consent' })
  await page.getByRole('button', { name: 'Confirm' }).click()
  expect(await page.getByRole('listitem').allTextContents()).toContain('orders:write')
  await page.getByRole('button', { name: 'Allow' }).click()
  await page.waitForURL(`${origin}/callback?*`)

  const logout = { client_id: 'spa-example', post_logout_redirect_uri: `${origin}/`, state: 'x' }
  await page.goto(client.buildEndSessionUrl(config, logout).href)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(`${origin}/?state=x`)
  expect(violations).toEqual([])
}, 30_000)

it('leads back to the application after Cancel', async () => {
  await open()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.waitForURL(`${origin}/callback?*`)
  expect(new URL(page.url()).searchParams.get('error')).toBe('access_denied')
}, 30_000)

it('lets another user sign in over a session', async () => {
  await open()
  await submit('demo', 'demo')
  await page.waitForURL(`${origin}/callback?*`)
  const pkceCodeVerifier = await open({ prompt: 'login' })
  await submit('second', 'second')
  await page.waitForURL(`${origin}/callback?*`)
  const checks = { pkceCodeVerifier, expectedState: 's' }
  const tokens = await client.authorizationCodeGrant(config, new URL(page.url()), checks)
  expect(tokens.claims()?.sub).toBe('second')
}, 30_000)
