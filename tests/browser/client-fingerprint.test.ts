import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser } from 'playwright-core'
import { clientFingerprint } from '@token-handler/shared'
import { launchBrowser } from '../support/browser.ts'
import { until } from '../support/until.ts'

const page = `<!doctype html><title>page</title><img src="/image"><script>
  fetch('/fetch')
  fetch('/post', { method: 'POST', body: 'x' })
  new EventSource('/events')
  new WebSocket(location.origin.replace('http', 'ws') + '/socket')
  new Worker(URL.createObjectURL(new Blob(["fetch('" + location.origin + "/worker')"])))
</script>`

describe('the fingerprint of a real browser', () => {
  let browser: Browser
  let server: Server
  const arrived = new Map<string, IncomingHttpHeaders>()

  beforeAll(async () => {
    server = createServer(({ url = '', headers }, res) => {
      arrived.set(url, headers)
      res.setHeader('content-type', 'text/html').end(page)
    })
    server.on('upgrade', ({ url = '', headers }, socket) => {
      arrived.set(url, headers)
      socket.destroy()
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    browser = await launchBrowser()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    server.closeAllConnections()
    server.close()
  })

  it('is the same for pages, calls, images, event streams, workers and WebSockets', async () => {
    const { port } = server.address() as AddressInfo
    const opened = await browser.newPage()
    await opened.goto(`http://localhost:${port}/`)
    const all = ['/', '/fetch', '/post', '/image', '/events', '/socket', '/worker']
    await until('all have come', () => all.every((path) => arrived.has(path)))
    const found = all.map((path) => [path, clientFingerprint(arrived.get(path) ?? {})])
    expect(found).toEqual(all.map((path) => [path, 'linux desktop chrome']))
    // Client hints come with some and not with others: the handshake of a WebSocket has none.
    expect(arrived.get('/fetch')).toHaveProperty('sec-ch-ua-platform')
    expect(arrived.get('/socket')).not.toHaveProperty('sec-ch-ua-platform')
  }, 30_000)
})
