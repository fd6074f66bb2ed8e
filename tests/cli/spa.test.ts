import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createSpaHandler, fixedKeys, startTokenHandler, type SpaOptions } from '@token-handler/cli'
import { checkConfig, generateKeyFile, silentLogger } from '@token-handler/shared'

const locked = "default-src 'none'; frame-ancestors 'none'"
const root = mkdtempSync(join(tmpdir(), 'token-handler-spa-test-'))
const opened: { close(): unknown }[] = []
let http: string
let https: string

beforeAll(async () => {
  mkdirSync(join(root, 'assets'))
  mkdirSync(join(root, '.git'))
  const page = (script: string) =>
    `<!doctype html><html lang="en" data-agent-url="/built-in"><head><script type="module" src="/assets/${script}"></script>` +
    `<link rel="stylesheet" href="/assets/style-abcdefgh.css"></head></html>`
  writeFileSync(join(root, 'index.html'), page('index-12345678.js'))
  writeFileSync(join(root, 'callback.html'), page('callback-12345678.js'))
  writeFileSync(join(root, 'assets', 'index-12345678.js'), '1')
  writeFileSync(join(root, 'favicon.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>')
  writeFileSync(join(root, '.git', 'config'), 'secret')
  http = await serve({ origin: 'http://localhost:3000', connectOrigins: [] })
  https = await serve({
    origin: 'https://www.example.com',
    connectOrigins: ['https://api.example.com'],
    otherOrigins: ['https://storage.example.net', 'wss://feeds.example.net'],
    agentUrl: 'https://api.example.com/oauth-agent?a="b"&c',
  })
})
afterAll(() => {
  for (const part of opened) part.close()
  rmSync(root, { recursive: true })
})

describe('the built SPA', () => {
  it.each(['/', '/orders', '/deep/link', '/index.html', '/orders?x=1'])('%s shows the app', async (path) => {
    const answer = await fetch(http + path)
    expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, 'no-cache'])
    expect(await answer.text()).toContain('index-12345678.js')
    expect(answer.headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; font-src 'self'; " +
        "connect-src 'self' ws://localhost:3000; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
  })

  it.each(['/callback', '/callback?code=c&state=s', '/callback.html'])(
    '%s is a document of its own that runs one file and stays in no cache',
    async (path) => {
      const answer = await fetch(http + path)
      expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, 'no-store'])
      expect(await answer.text()).toContain('callback-12345678.js')
      expect(answer.headers.get('content-security-policy')).toBe(
        "default-src 'none'; script-src http://localhost:3000/assets/callback-12345678.js; " +
          "style-src http://localhost:3000/assets/style-abcdefgh.css; connect-src 'self'; base-uri 'none'; " +
          "form-action 'none'; frame-ancestors 'none'",
      )
    },
  )

  it('keeps files with a hash in their name for ever, and asks again for others', async () => {
    const hashed = await fetch(`${http}/assets/index-12345678.js`)
    expect(hashed.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect((await fetch(`${http}/favicon.svg`)).headers.get('cache-control')).toBe('no-cache')
  })

  it.each(['/', '/callback', '/assets/index-12345678.js', '/favicon.svg', '/none.js', '/oauth-agent/session'])(
    '[D-SEC-01][D-SEC-02][D-SEC-05][D-SEC-06] %s carries the security headers, and nothing about us',
    async (path) => {
      const { headers } = await fetch(http + path)
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toMatch(/unsafe|\*/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
      expect(headers.get('content-type')).toBeTruthy()
      for (const name of ['x-powered-by', 'server', 'set-cookie', 'strict-transport-security']) {
        expect([name, headers.get(name)]).toEqual([name, null])
      }
    },
  )

  it('answers 404 in JSON for files that are not there, hidden files, other methods, and ways out of the folder', async () => {
    const paths = [
      '/none.js',
      '/assets/none.css',
      '/.git/config',
      '/assets/..%2f..%2f..%2fetc/passwd.txt',
      '/%2e%2e/x.y',
    ]
    for (const path of paths) {
      const answer = await fetch(http + path)
      expect([path, answer.status, answer.headers.get('content-security-policy')]).toEqual([path, 404, locked])
      expect(await answer.json()).toEqual({ code: 'not_found', message: 'There is nothing here.' })
    }
    expect((await fetch(`${http}/`, { method: 'POST' })).status).toBe(404)
  })

  it('[D-OR-08] redirects nobody anywhere', async () => {
    for (const target of ['//evil.test/%2e%2e', '//evil.test/..', '/assets', '/\\evil.test', 'http://evil.test/']) {
      const head = await rawGet(target)
      expect([target, head]).toEqual([target, expect.stringMatching(/^HTTP\/1\.1 (?:200|400|404) /)])
      expect(head.toLowerCase()).not.toContain('location:')
    }
  })

  it("writes the agent's URL on both pages, and lets them connect there", async () => {
    for (const path of ['/', '/callback']) {
      const answer = await fetch(https + path)
      expect(await answer.text()).toContain(
        '<html lang="en" data-agent-url="https://api.example.com/oauth-agent?a=&quot;b&quot;&amp;c">',
      )
      expect(answer.headers.get('content-security-policy')).toContain("connect-src 'self' https://api.example.com")
    }
    expect(await (await fetch(`${http}/`)).text()).toContain('data-agent-url="/built-in"')
  })

  it('lets the app connect to what is configured, WebSockets included, and the callback page to the agent alone', async () => {
    const connectSources = async (path: string): Promise<string | undefined> => {
      const { headers } = await fetch(https + path)
      return /connect-src ([^;]*)/.exec(headers.get('content-security-policy') ?? '')?.[1]
    }
    expect(await connectSources('/')).toBe(
      "'self' https://api.example.com wss://www.example.com wss://api.example.com " +
        'https://storage.example.net wss://feeds.example.net',
    )
    expect(await connectSources('/callback')).toBe("'self' https://api.example.com")
  })

  it('[D-SEC-03] asks for https in future only where it is https', async () => {
    for (const path of ['/', '/callback', '/favicon.svg', '/none.js']) {
      const { headers } = await fetch(https + path)
      expect([path, headers.get('strict-transport-security')]).toEqual([path, 'max-age=63072000'])
    }
  })

  it('stops the start when the folder lacks a page, and names the key', async () => {
    const config = checkConfig({
      public_url: 'http://localhost:3000',
      authorization_server: {
        issuer: 'http://127.0.0.1:1',
        client_id: 'spa',
        client_authentication: { method: 'client_secret_basic', client_secret: 's' },
        redirect_uri: 'http://localhost:3000/callback',
      },
      keys: { file: 'none' },
      ledger: { type: 'memory' },
      listen: { port: 0 },
      spa: { root: join(root, 'assets') },
    })
    const keys = fixedKeys(generateKeyFile(new Date()), { issuer: 'http://127.0.0.1:1', clientId: 'spa' })
    await expect(startTokenHandler({ config, keys, logger: silentLogger })).rejects.toMatchObject({
      problems: [{ path: 'spa.root', message: 'must be a folder with index.html and callback.html (ENOENT)' }],
    })
  })
})

async function serve(options: Omit<SpaOptions, 'root' | 'callbackPath'>): Promise<string> {
  const server = createServer(createSpaHandler({ root, callbackPath: '/callback', ...options }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({ close: () => [server.close(), server.closeAllConnections()] })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The head of the answer to a target that `fetch` would tidy up. */
async function rawGet(target: string): Promise<string> {
  const socket = connect(Number(new URL(http).port), '127.0.0.1')
  socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text.split('\r\n\r\n', 1)[0] ?? ''
}
