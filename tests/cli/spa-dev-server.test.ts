import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawn, type ChildProcess } from 'node:child_process'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import { checkConfig, ConfigError, generateKeyFile, silentLogger, type ConfigInput } from '@token-handler/shared'
import type { Browser } from 'playwright-core'
import { WebSocket, WebSocketServer } from 'ws'
import { launchBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'

const modules = join(import.meta.dirname, '../../node_modules')
const opened: { close(): unknown }[] = []

afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

describe('spa.dev_server with Vite', () => {
  const root = mkdtempSync(join(tmpdir(), 'token-handler-vite-'))
  let vite: ChildProcess
  let target: string
  let browser: Browser

  beforeAll(async () => {
    symlinkSync(modules, join(root, 'node_modules'))
    writeFileSync(
      join(root, 'index.html'),
      '<!doctype html><p id="text"></p><script type="module" src="/app.js"></script>',
    )
    writeFileSync(join(root, 'callback.html'), '<!doctype html><p id="text">callback</p>')
    writeApp('before')
    target = `http://localhost:${await freePort()}`
    vite = startVite(root, new URL(target).port)
    await until('Vite answers', () =>
      fetch(target).then(
        ({ ok }) => ok,
        () => false,
      ),
    )
    browser = await launchBrowser()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    const ended = once(vite, 'exit')
    vite.kill('SIGTERM')
    await ended
    rmSync(root, { recursive: true })
  })

  const writeApp = (text: string): void => {
    writeFileSync(
      join(root, 'app.js'),
      `export const text = ${JSON.stringify(text)}
       document.querySelector('#text').textContent = text
       import.meta.hot.accept()`,
    )
  }

  it('shows the app from the public origin, and hot-reloads a changed module without reloading the page', async () => {
    const { url } = await start({ dev_server: target })
    const page = await browser.newPage()
    const sockets: string[] = []
    page.on('websocket', (socket) => sockets.push(socket.url()))
    const connected = page.waitForEvent('console', (message) => message.text().includes('[vite] connected'))
    await page.goto(url)
    await connected
    expect(await page.locator('#text').textContent()).toBe('before')
    // The hot-reload socket is ours too; Vite would fall back to its own port in silence.
    expect(sockets.map((socket) => new URL(socket).host)).toEqual([new URL(url).host])
    await page.evaluate(() => ((window as unknown as { stayed: boolean }).stayed = true))
    writeApp('after')
    await page.getByText('after').waitFor()
    // Vite may see one change of the file as two, so the runs of the module tell nothing of the page.
    expect(await page.evaluate(() => (window as unknown as { stayed?: boolean }).stayed)).toBe(true)
    await page.close()
  })

  it('serves deep links, and the callback page with the headers that it needs', async () => {
    const { url } = await start({ dev_server: target })
    const headers = { accept: 'text/html' }
    expect(await (await fetch(`${url}/orders/1`, { headers })).text()).toContain('/app.js')
    const callback = await fetch(`${url}/callback?code=c`, { headers })
    expect(await callback.text()).toContain('callback')
    expect(Object.fromEntries(callback.headers)).toMatchObject({
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'content-security-policy': "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    })
  })

  it('shows callback.html at the redirect URI, whatever its path is, as spa.root does', async () => {
    const { url } = await start({ dev_server: target }, {}, '/login/done')
    const callback = await fetch(`${url}/login/done?code=c&raw`, { headers: { accept: 'text/html' } })
    expect(await callback.text()).toContain('callback')
    expect(callback.headers.get('cross-origin-opener-policy')).toBe('same-origin')
  })

  it('leaves the paths of agent and proxy to them', async () => {
    const { url } = await start({ dev_server: target })
    const session = await fetch(`${url}/oauth-agent/session`, {
      headers: { 'token-handler-version': '1', origin: url },
    })
    expect(await session.json()).toEqual({ is_logged_in: false })
    const api = await fetch(`${url}/api/none`, { headers: { origin: url } })
    expect([api.status, await api.json()]).toEqual([404, expect.objectContaining({ code: 'not_found' })])
  })
})

describe('spa.dev_server', () => {
  it('gives the development server no cookie, takes none from it, and sends it its own name', async () => {
    const received: IncomingHttpHeaders[] = []
    const target = await startScripted((headers) => received.push(headers))
    const { url, port } = await start({ dev_server: target })
    const lines = [`GET /x HTTP/1.1`, `Host: ${new URL(url).host}`, 'Cookie: __Host-Http-th-sid=abc; other=1']
    const answer = await raw(port, [...lines, 'Connection: close, X-Hop', 'X-Hop: 1', 'X-Kept: 1', '', ''].join('\r\n'))
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(answer.toLowerCase()).not.toContain('set-cookie')
    expect(received[0]).toMatchObject({ host: new URL(target).host, 'x-kept': '1' })
    expect(received[0]?.cookie).toBeUndefined()
    expect(received[0]?.['x-hop']).toBeUndefined()
  })

  it('passes event streams and WebSockets as they come, and holds up no shutdown with them', async () => {
    const received: IncomingHttpHeaders[] = []
    const target = await startStreaming((headers) => received.push(headers))
    const { url, port, running } = await start({ dev_server: target })
    const events = await fetch(`${url}/events`, { headers: { accept: 'text/event-stream' } })
    expect(events.headers.get('content-type')).toBe('text/event-stream')
    const reader = events.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect(await reader?.read()).toEqual({ done: false, value: 'data: changed\n\n' })
    const { host } = new URL(url)
    const socket = new WebSocket(`ws://127.0.0.1:${port}/hot`, { headers: { host, origin: url } })
    const [message] = (await once(socket, 'message')) as [Buffer]
    expect(String(message)).toBe('reload')
    expect(received.every((headers) => headers.cookie === undefined)).toBe(true)
    const closed = once(socket, 'close')
    const last = reader?.read().then(
      ({ done }) => done,
      () => true,
    )
    await running.close()
    await closed
    expect(await last).toBe(true)
  })

  it('gets the WebSockets that are no route of the API where the access cookie is at /', async () => {
    const routes = [{ path: '/api/feed', upstream: 'http://127.0.0.1:1', websocket: true }]
    const { url, port } = await start(
      { dev_server: await startStreaming(() => {}) },
      { cookies: { access_token_path: '/' }, proxy: { routes } },
    )
    const { host } = new URL(url)
    const open = (path: string) => new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers: { host, origin: url } })
    const [message] = (await once(open('/hot'), 'message')) as [Buffer]
    expect(String(message)).toBe('reload')
    const [, refusal] = (await once(open('/api/feed'), 'unexpected-response')) as [unknown, IncomingMessage]
    expect(refusal.statusCode).toBe(401)
    refusal.destroy()
  })

  it('refuses requests for another host, which a rebound name would send', async () => {
    const received: IncomingHttpHeaders[] = []
    const { url, port } = await start({ dev_server: await startScripted((headers) => received.push(headers)) })
    expect(await raw(port, 'GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 421 /,
    )
    const handshake = (host: string, origin: string) =>
      raw(
        port,
        `GET / HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      )
    expect(await handshake('evil.test', 'http://evil.test')).toMatch(/^HTTP\/1\.1 403 /)
    expect(await handshake(new URL(url).host, 'http://evil.test')).toMatch(/^HTTP\/1\.1 403 /)
    expect(received).toEqual([])
  })

  it('says so when the development server is not running, and works when it is', async () => {
    const port = await freePort()
    const { url } = await start({ dev_server: `http://localhost:${port}` })
    const answer = await fetch(`${url}/`)
    expect([answer.status, await answer.text()]).toEqual([
      502,
      `The development server at http://localhost:${port} does not answer. Is it running?\n`,
    ])
    await startScripted(() => {}, port)
    expect((await fetch(`${url}/`)).status).toBe(200)
  })

  it.each([404, 301])('asks at the redirect URI for its own path where callback.html is %i', async (status) => {
    const target = await startScripted(() => {}, 0, { '/callback.html': status })
    const { url } = await start({ dev_server: target })
    const callback = await fetch(`${url}/callback?code=c`)
    expect([callback.status, callback.headers.get('cross-origin-opener-policy')]).toEqual([200, 'same-origin'])
    expect(callback.headers.get('x-path')).toBe('/callback?code=c')
  })

  it('passes bodies both ways', async () => {
    const { url } = await start({ dev_server: await startScripted(() => {}) })
    const body = 'x'.repeat(200_000)
    expect(await (await fetch(`${url}/echo`, { method: 'POST', body })).text()).toBe(body)
  })

  it.each([
    ['http://dev.example.com:5173', 'must be on this machine: what it sends runs in the SPA'],
    ['http://192.168.1.2:5173', 'must be on this machine: what it sends runs in the SPA'],
    ['http://localhost:3000', 'points at this server itself'],
  ])('does not start with %s', (devServer, message) => {
    expect(problemsOf({ dev_server: devServer })).toEqual([{ path: 'spa.dev_server', message }])
  })

  it('does not start with a path, nor together with root', () => {
    expect(problemsOf({ dev_server: 'http://localhost:5173/app' })).toHaveLength(1)
    expect(problemsOf({ dev_server: 'http://localhost:5173', root: 'dist' } as never)).toHaveLength(1)
  })
})

function configWith(spa: NonNullable<ConfigInput['spa']>, port: number, callbackPath = '/callback'): ConfigInput {
  return {
    public_url: `http://localhost:${port}`,
    listen: { port },
    authorization_server: {
      issuer: 'http://127.0.0.1:1',
      client_id: 'spa',
      client_authentication: { method: 'client_secret_basic', client_secret: 'secret' },
      redirect_uri: `http://localhost:${port}${callbackPath}`,
    },
    keys: { file: 'not read' },
    ledger: { type: 'memory' },
    audit: { sink: 'off' },
    spa,
  }
}

async function start(
  spa: NonNullable<ConfigInput['spa']>,
  changes: Partial<ConfigInput> = {},
  callbackPath?: string,
): Promise<{
  url: string
  port: number
  running: RunningTokenHandler
}> {
  const port = await freePort()
  const config = checkConfig({ ...configWith(spa, port, callbackPath), ...changes })
  const keys = fixedKeys(generateKeyFile(new Date()), { issuer: 'http://127.0.0.1:1', clientId: 'spa' })
  const running = await startTokenHandler({ config: { ...config, shutdown_seconds: 0 }, keys, logger: silentLogger })
  opened.push(running)
  return { url: config.public_url, port, running }
}

function problemsOf(spa: NonNullable<ConfigInput['spa']>): ConfigError['problems'] {
  try {
    checkConfig(configWith(spa, 3000))
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

/** A development server that answers everything with what it got, and a status that some paths have. */
async function startScripted(
  heard: (headers: IncomingHttpHeaders) => void,
  port = 0,
  statuses: Readonly<Record<string, number>> = {},
): Promise<string> {
  const server = createServer((req, res) => {
    heard(req.headers)
    res.statusCode = statuses[req.url ?? ''] ?? 200
    res.setHeader('set-cookie', 'dev=1').setHeader('x-path', req.url ?? '')
    req.pipe(res)
  })
  server.on('upgrade', ({ headers }, socket) => {
    heard(headers)
    socket.destroy()
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  opened.push({ close: () => [server.close(), server.closeAllConnections()] })
  return `http://localhost:${(server.address() as AddressInfo).port}`
}

/** A development server that tells of changes by event stream and WebSocket. */
async function startStreaming(heard: (headers: IncomingHttpHeaders) => void): Promise<string> {
  const server = createServer(({ headers }, res) => {
    heard(headers)
    res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: changed\n\n')
  })
  const sockets = new WebSocketServer({ server }).on('connection', (socket, { headers }) => {
    heard(headers)
    socket.send('reload')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({
    close() {
      for (const socket of sockets.clients) socket.terminate()
      server.close()
      server.closeAllConnections()
    },
  })
  return `http://localhost:${(server.address() as AddressInfo).port}`
}

function startVite(root: string, port: string): ChildProcess {
  const args = [join(modules, 'vite/bin/vite.js'), root, '--host', '127.0.0.1', '--port', port, '--strictPort']
  return spawn(process.execPath, args, { stdio: 'ignore' })
}

async function raw(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(request)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}
