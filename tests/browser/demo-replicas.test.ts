import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createProxyMiddleware } from 'http-proxy-middleware'
import type { Browser, Page } from 'playwright-core'
import { fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import {
  checkConfig,
  generateKeyFile,
  openSqliteLedger,
  silentLogger as logger,
  systemClock,
  type ConfigInput,
  type Ledger,
} from '@token-handler/shared'
import { startDemo, type Demo } from '../../spa-example/demo.ts'
import { temporaryFile } from '../shared/sqlite-file.ts'
import { launchBrowser } from '../support/browser.ts'
import { parseMetrics } from '../support/metrics.ts'
import { buildSpa } from '../support/spa-build.ts'
import { until } from '../support/until.ts'
import { logIn, logOut } from './support.ts'

const feedPaths = ['/api/events', '/api/feed']
const feeds = ['sse', 'ws']

/** Two replicas of the demo behind one balancer: feeds go to the second, everything else to the first. */
describe('two replicas', () => {
  const closing: (() => unknown)[] = []
  let browser: Browser
  let demo: Demo
  let second: RunningTokenHandler

  beforeAll(async () => {
    const [ports, balancer] = [new Map<'first' | 'second', number>(), createServer()]
    const middleware = createProxyMiddleware({
      target: 'http://127.0.0.1',
      router: ({ url = '' }) => `http://127.0.0.1:${ports.get(feedPaths.includes(url) ? 'second' : 'first')}`,
    })
    balancer.on('request', (req, res) => void middleware(req, res))
    balancer.on('upgrade', (req, socket, head) => middleware.upgrade(req, socket as Socket, head))
    balancer.listen(0, '127.0.0.1')
    await once(balancer, 'listening')
    closing.push(() => {
      balancer.close()
      balancer.closeAllConnections()
    })

    const file = temporaryFile()
    closing.push(() => file.removeFolder())
    const openLedger = async (): Promise<Ledger> => {
      const ledger = await openSqliteLedger({ path: file.path, clock: systemClock, logger })
      closing.push(() => ledger.close())
      return ledger
    }
    const keys = generateKeyFile(new Date())
    let input: ConfigInput | undefined
    demo = await startDemo({
      spa: { root: await buildSpa() },
      ports: { web: 0, authorizationServer: 0, api: 0, admin: 0 },
      publicOrigin: `http://localhost:${(balancer.address() as AddressInfo).port}`,
      configure: (own) => (input = own),
      ledger: await openLedger(),
      keys,
      logger,
    })
    closing.push(() => demo.close())
    const config = checkConfig(input)
    const { issuer, client_id: clientId } = config.authorization_server
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    second = await startTokenHandler({
      config,
      keys: fixedKeys(keys, { issuer, clientId }),
      ledger: await openLedger(),
      logger,
      server,
    })
    closing.push(() => second.close())
    ports.set('first', portOf(demo.tokenHandler)).set('second', portOf(second))
    browser = await launchBrowser()
    closing.push(() => browser.close())
  }, 60_000)
  afterAll(async () => {
    for (const close of closing.toReversed()) await close()
  })

  it('close in one tab, on one of them, what a logout in another tab ended on the other', async () => {
    const context = await browser.newContext()
    // Nothing but the replica may tell the other tab.
    await context.addInitScript(() => {
      BroadcastChannel.prototype.postMessage = () => {}
    })
    const open = async (): Promise<Page> => {
      const page = await context.newPage()
      await page.goto(demo.url)
      return page
    }
    const tab = await open()
    await logIn(tab)
    const other = await open()
    await other.getByTestId('nav-live').click()
    for (const feed of feeds) await other.locator(`[data-testid=${feed}-state][data-status=open]`).waitFor()
    expect(await openStreams(second)).toBe(2)
    expect(await openStreams(demo.tokenHandler)).toBe(0)
    await logOut(tab)
    for (const feed of feeds) {
      const state = other.locator(`[data-testid=${feed}-state][data-status=closed][data-code=session_ended]`)
      await state.waitFor()
      expect(await state.textContent()).toBe('session ended')
    }
    await until('the replica has let go of them', async () => (await openStreams(second)) === 0)
  })
})

function portOf({ server }: RunningTokenHandler): number {
  return (server.address() as AddressInfo).port
}

async function openStreams({ registry }: RunningTokenHandler): Promise<number> {
  const series = [...parseMetrics(await registry.metrics())]
  return series
    .filter(([name]) => name.startsWith('token_handler_proxy_open_streams'))
    .reduce((sum, [, value]) => sum + value, 0)
}
