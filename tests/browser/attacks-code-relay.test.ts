import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createSpaHandler } from '@token-handler/cli'
import { silentLogger } from '@token-handler/shared'
import type { Browser } from 'playwright-core'
import { launchBrowser } from '../support/browser.ts'
import { startTestDemo, type TestDemo } from '../support/demo.ts'
import { SessionBrowser } from '../support/session-browser.ts'
import { buildSpa } from '../support/spa-build.ts'
import { logIn } from './support.ts'

/**
 * The attack of docs/decisions/0003: script injected into the app opens the *attacker's* authorization request in the
 * victim's browser, reads `code` and `state` from the callback's address, which is of its own origin, and hands them to
 * the attacker, who finishes the login in a browser that has the pending-login cookie. State, nonce and PKCE all hold.
 *
 * The app here has no protection of its own, as an app with an injection hardly has; it differs in the two headers of the
 * callback page only. The authorization server is on the SPA's site, as often in life, so that frames carry its cookie.
 */
const protections = ['Cross-Origin-Opener-Policy', 'Content-Security-Policy']

function appWithout(isStripped: (path: string) => boolean): (server: Server) => Promise<RequestListener> {
  return async (server) => {
    const handler = createSpaHandler({
      root: await buildSpa(),
      origin: `http://localhost:${(server.address() as AddressInfo).port}`,
      callbackPath: '/callback',
      connectOrigins: [],
      logger: silentLogger,
    })
    return (req, res) => {
      if (isStripped((req.url ?? '').split('?', 1)[0] ?? '')) {
        const setHeader = res.setHeader.bind(res)
        res.setHeader = (name, value) => (protections.includes(name) ? res : setHeader(name, value))
      }
      handler(req, res)
    }
  }
}

/** Ways for injected script to have an authorization request run, and to read where it ends. */
const relays: Readonly<Record<string, (url: string) => Promise<string>>> = {
  'a popup': async (url) => {
    const popup = window.open(url, 'relay')
    for (const end = performance.now() + 3000; performance.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 0))
      try {
        const search = popup?.location.search ?? ''
        if (search.includes('code=')) return search
      } catch {
        // Not yet on our own origin.
      }
    }
    return popup === null || popup.closed ? 'closed' : 'nothing'
  },
  'a frame': async (url) => {
    const frame = document.createElement('iframe')
    // Script of the page stays off, so that nothing takes the query away.
    frame.sandbox.add('allow-same-origin')
    frame.src = url
    document.body.append(frame)
    for (const end = performance.now() + 3000; performance.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 0))
      try {
        const search = frame.contentWindow?.location.search ?? ''
        if (search.includes('code=')) return search
      } catch {
        // As above.
      }
    }
    return 'nothing'
  },
}

/** Runs the attack up to what the injected script learns: the query of the callback, or `closed` or `nothing`. */
function useApp(isStripped: (path: string) => boolean): (how: string) => Promise<{
  learned: string
  attacker: SessionBrowser
}> {
  let demo: TestDemo
  let browser: Browser
  beforeAll(async () => {
    demo = await startTestDemo({ spa: { handler: appWithout(isStripped) }, authorizationServerHost: 'localhost' })
    browser = await launchBrowser()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await demo?.close()
  })
  return async (how) => {
    const context = await browser.newContext()
    const victim = await context.newPage()
    await victim.goto(demo.url)
    await logIn(victim)
    const attacker = new SessionBrowser(demo.url)
    const started = await attacker.call('POST', '/oauth-agent/login/start')
    const relay = relays[how] as (url: string) => Promise<string>
    const learned = await victim.evaluate(relay, String(started.json()['authorization_url']))
    await context.close()
    return { learned, attacker }
  }
}

describe('control: without the two headers', () => {
  const attack = useApp(() => true)

  it.each(Object.keys(relays))('%s relays a code, and the attacker is logged in as the victim', async (how) => {
    const { learned, attacker } = await attack(how)
    const ended = await attacker.call('POST', '/oauth-agent/login/end', new URLSearchParams(learned))
    expect(ended.json()).toMatchObject({ is_logged_in: true, id_token_claims: { sub: 'demo' } })
    expect((await attacker.call('GET', '/api/me')).json()).toMatchObject({ sub: 'demo' })
  })
})

describe('with the two headers on the callback page', () => {
  const attack = useApp((path) => path !== '/callback')

  it.each(Object.keys(relays))('%s learns nothing', async (how) => {
    const { learned } = await attack(how)
    expect(['closed', 'nothing']).toContain(learned)
  })
})
