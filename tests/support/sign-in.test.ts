import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from '@jest/globals'
import { CookieJar } from './cookie-jar.ts'
import { signIn } from './sign-in.ts'

const REDIRECT_URI = 'http://localhost:3000/callback'

/** The real pages are walked in tests/spa-example; here are the odd ones. */
describe('signIn', () => {
  let server: Server | undefined

  afterEach(() => {
    server?.close()
  })

  async function serve(listener: (...exchange: Parameters<RequestListener>) => unknown): Promise<string> {
    server = createServer((req, res) => void listener(req, res))
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it('does not take a longer path or another port for the end', async () => {
    const origin = await serve((req, res) => {
      if (req.url === '/start') return res.writeHead(302, { location: '/callback/deeper' }).end()
      return res.writeHead(303, { location: `${REDIRECT_URI}?code=c&state=s` }).end()
    })
    const response = await signIn({ authorizationUrl: `${origin}/start`, redirectUri: REDIRECT_URI })
    expect(response.search).toBe('?code=c&state=s')
  })

  it('submits the first form as it is, with entities decoded, and keeps cookies by path', async () => {
    let seen: { cookie: string | undefined; body: string } | undefined
    const origin = await serve(async (req, res) => {
      if (req.method === 'POST') {
        seen = { cookie: req.headers.cookie, body: await text(req) }
        res.writeHead(303, { location: REDIRECT_URI }).end()
        return
      }
      res.setHeader('Set-Cookie', ['a=1; Path=/form', 'b=1; Path=/other'])
      res.end(`<form method="post" action="/form?a=1&amp;b=2"><input type="hidden" name="x" value="&quot;&#38;&lt;"></form>
        <form action="/never"></form>`)
    })
    await signIn({ authorizationUrl: origin, redirectUri: REDIRECT_URI, jar: new CookieJar() })
    expect(seen).toEqual({ cookie: 'a=1', body: 'x=%22%26%3C' })
  })

  it('stops with the text of a page that leads nowhere', async () => {
    const origin = await serve((_req, res) => res.writeHead(400).end('<style>p{}</style><p>No &amp; no</p>'))
    await expect(signIn({ authorizationUrl: origin, redirectUri: REDIRECT_URI })).rejects.toThrow(
      'stopped at 400: No & no',
    )
  })

  it('does not go in circles', async () => {
    const origin = await serve((_req, res) => res.writeHead(302, { location: '/again' }).end())
    await expect(signIn({ authorizationUrl: origin, redirectUri: REDIRECT_URI })).rejects.toThrow(
      'no end after 20 steps',
    )
  })
})
