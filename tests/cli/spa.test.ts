import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { connect, createServer as createSocketServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createSpaHandler, fixedKeys, startTokenHandler, type SpaOptions } from '@token-handler/cli'
import { checkConfig, errorCatalogue, generateKeyFile, silentLogger, type ErrorCode } from '@token-handler/shared'
import { keptLog } from '../support/kept-log.ts'

const locked = "default-src 'none'; frame-ancestors 'none'"
const root = mkdtempSync(join(tmpdir(), 'token-handler-spa-test-'))
const opened: { readonly server?: Server; close(): unknown }[] = []
const log = keptLog()
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

  it.each(['/v1.2/list', '/users/jane.doe', '/orders', '/files/report.pdf?x=1'])(
    'a navigation to %s shows the app',
    async (path) => {
      for (const headers of [
        ['Sec-Fetch-Dest: document', 'Sec-Fetch-Mode: navigate'],
        ['Accept: text/html,application/xhtml+xml,*/*;q=0.8'],
      ]) {
        const head = await rawGet(path, headers)
        expect([path, head]).toEqual([path, expect.stringMatching(/^HTTP\/1\.1 200 /)])
        expect(head).toContain('text/html')
      }
    },
  )

  it.each([
    ['/orders', 'script'],
    ['/orders', 'image'],
    ['/assets/none.js', 'script'],
    ['/users/jane.doe', 'image'],
    ['/users/jane.doe', 'iframe'],
    ['/users/jane.doe', 'empty'],
  ])('%s asked for as %s is 404, never the app', async (path, destination) => {
    const head = await rawGet(path, [`Sec-Fetch-Dest: ${destination}`, 'Accept: text/html, */*'])
    expect(head).toMatch(/^HTTP\/1\.1 404 /)
    expect(head).toContain('application/json')
  })

  it('has the policy and the headers that docs/deployment.md names', async () => {
    const page = readFileSync(new URL('../../docs/deployment.md', import.meta.url), 'utf8')
    const section = page.slice(page.indexOf('## The SPA from'), page.indexOf('## TLS'))
    const { headers } = await fetch(`${http}/`)
    const policy = headers.get('content-security-policy')?.split('; ') ?? []
    for (const directive of policy) expect(section).toContain(`\`${directive.replace(' ws://localhost:3000', '')}\``)
    expect(policy).toHaveLength(section.match(/`[a-z]+-(?:src|uri|action|ancestors) '/g)?.length ?? 0)
    const named = [...section.matchAll(/`((?!Sec-)[A-Z][\w-]+): ([\w-]+)`/g)]
    expect(named).toHaveLength(4)
    for (const [, name = '', value] of named) expect([name, headers.get(name)]).toEqual([name, value])
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

  it.each([
    ...['index-12345678.js', 'index-DrMA_-x9.css', 'fonts/inter-BxYz0123.woff2'].map((name) => [
      `/assets/${name}`,
      true,
    ]),
    ...['/favicon.svg', '/logo-inverted.svg', '/de-messages.json', '/silent-callback.html', '/app-manifest.json'].map(
      (path) => [path, false],
    ),
    ...['app-manifest.json', 'how-to-login.js', 'frame-12345678.html'].map((name) => [`/assets/${name}`, false]),
    ['/index-12345678.js', false],
    ['/other/assets/index-12345678.js', false],
  ] as [string, boolean][])('%s is kept for ever: %s', async (path, isKept) => {
    const file = join(root, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, '1')
    const { status, headers } = await fetch(http + path)
    const expected = isKept ? 'public, max-age=31536000, immutable' : 'no-cache'
    expect([status, headers.get('cache-control')]).toEqual([200, expected])
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

  it.each([
    ['a range beyond the end', 'GET', { range: 'bytes=9999-' }, 416, 'range_not_satisfiable'],
    ['a range beyond the end, of HEAD', 'HEAD', { range: 'bytes=9999-' }, 416, 'range_not_satisfiable'],
    ['an old version', 'GET', { 'if-match': '"x"' }, 412, 'precondition_failed'],
    ['an older date', 'GET', { 'if-unmodified-since': new Date(0).toUTCString() }, 412, 'precondition_failed'],
  ] as const)(
    '[D-SEC-06] who asks a file for %s (%s) gets an error that tells nothing',
    async (_what, method, headers, status, code) => {
      const answer = await fetch(`${http}/assets/index-12345678.js`, { method, headers })
      expect(answer.status).toBe(status)
      expect(await errorOf(answer)).toBe(method === 'HEAD' ? '' : code)
      expect(answer.headers.get('content-range')).toBe(status === 416 ? 'bytes */1' : null)
    },
  )

  it('[D-SEC-06] a file that cannot be read is 500, and the cause is in the log alone', async () => {
    // It can be looked at, but not opened.
    const socket = createSocketServer().listen(join(root, 'assets', 'page.html'))
    await once(socket, 'listening')
    try {
      const answer = await fetch(`${http}/assets/page.html`)
      expect([answer.status, await errorOf(answer)]).toEqual([500, 'server_error'])
      const lines = log.lines.map((line) => JSON.parse(line) as Record<string, unknown>)
      expect(lines.filter(({ id }) => id === answer.headers.get('x-request-id'))).toMatchObject([
        { level: 50, event: 'request_refused', code: 'server_error', status: 500, error: { code: 'ENXIO' } },
      ])
    } finally {
      socket.close()
    }
  })

  it('answers a target that is no address in JSON too', async () => {
    const head = (await rawGet('http://[')).toLowerCase()
    expect(head).toMatch(/^http\/1\.1 404 /)
    for (const line of [
      'content-type: application/json',
      'cache-control: no-store',
      'x-content-type-options: nosniff',
    ]) {
      expect(head).toContain(line)
    }
  })

  it('[D-OR-08] [F-EO-2] [F-RO-6] redirects nobody anywhere', async () => {
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

  it('[D-LIM-04] lets go of clients that take nothing, and of the file', async () => {
    writeFileSync(join(root, 'assets', 'film-12345678.mp4'), Buffer.alloc(30_000_000))
    const url = new URL(await serve({ origin: 'http://localhost:3000', connectOrigins: [], unreadMs: 100 }))
    const socket = connect(Number(url.port), '127.0.0.1').pause()
    socket.write('GET /assets/film-12345678.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const [, answer] = (await once(opened.at(-1)?.server as Server, 'request')) as [unknown, ServerResponse]
    await once(answer, 'close')
    expect([answer.writableFinished, answer.statusCode]).toEqual([false, 200])
    socket.destroy()
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

async function serve(options: Omit<SpaOptions, 'root' | 'callbackPath' | 'logger'>): Promise<string> {
  const server = createServer(createSpaHandler({ root, callbackPath: '/callback', logger: log.logger, ...options }))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({ server, close: () => [server.close(), server.closeAllConnections()] })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The code of an error, once it is made sure that it is one of ours and that nothing of the file is with it. */
async function errorOf(answer: Response): Promise<string> {
  const { headers } = answer
  expect(headers.get('content-type')).toBe('application/json')
  expect([headers.get('cache-control'), headers.get('content-security-policy')]).toEqual(['no-store', locked])
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('x-request-id')).toBeTruthy()
  for (const name of ['etag', 'last-modified', 'accept-ranges']) expect([name, headers.get(name)]).toEqual([name, null])
  const text = await answer.text()
  if (text === '') return text
  const { code, ...rest } = JSON.parse(text) as { code: ErrorCode }
  expect(rest).toEqual({ message: errorCatalogue[code].message })
  return code
}

/** The head of the answer to a target that `fetch` would tidy up. */
async function rawGet(target: string, headers: readonly string[] = []): Promise<string> {
  const socket = connect(Number(new URL(http).port), '127.0.0.1')
  const lines = [`GET ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text.split('\r\n\r\n', 1)[0] ?? ''
}
