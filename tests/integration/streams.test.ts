import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { WebSocket } from 'ws'
import type { CookieJar } from '../support/cookie-jar.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { until } from '../support/until.ts'
import { startEchoServer, type EchoServer } from '../support/websocket.ts'
import { callAt, install, logInAt, publicUrl, type Installation, type RunningCommand } from './installation.ts'

let site: Installation
let echo: EchoServer
let events: Upstream

beforeEach(async () => {
  echo = await startEchoServer()
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
  events = await startUpstream({ onRequest: () => `${head}d\r\ndata: first\n\n\r\n` })
  site = await install()
  site.configure('token-handler.yaml', {
    ledger: { type: 'sqlite', file: 'ledger.sqlite' },
    shutdown_seconds: 20,
    proxy: {
      routes: [
        { path: '/api/feed', upstream: echo.origin, websocket: true },
        { path: '/api/events', upstream: events.origin },
      ],
    },
  })
}, 60_000)

afterEach(async () => {
  await site.close()
  await echo.close()
  await events.close()
})

/** A WebSocket that has said something, and how it will end. */
async function openSocket({ url }: RunningCommand, jar: CookieJar): Promise<{ readonly end: Promise<string> }> {
  const path = '/api/feed'
  const socket = new WebSocket(url.replace('http:', 'ws:') + path, {
    headers: { host: new URL(publicUrl).host, origin: publicUrl, cookie: jar.header(publicUrl + path) },
  })
  const ended = once(socket, 'close').then(([code, reason]) => `${code} ${String(reason)}`)
  await once(socket, 'open')
  socket.send('hello')
  expect(String((await once(socket, 'message'))[0])).toBe('hello')
  return { end: ended }
}

/** An event stream whose first event has come, and all that will have come in the end. */
async function openEvents({ url }: RunningCommand, jar: CookieJar): Promise<{ readonly end: Promise<string> }> {
  const path = '/api/events'
  const response = await fetch(url + path, {
    headers: { origin: publicUrl, 'token-handler-version': '1', cookie: jar.header(publicUrl + path) },
  })
  expect(response.status).toBe(200)
  return { end: response.text() }
}

const endsOf = (streams: readonly { readonly end: Promise<string> }[]): Promise<string[]> =>
  Promise.all(streams.map(({ end }) => end))

describe.each([
  ['one process', []],
  ['two workers', ['--workers', '2']],
])('streams through token-handler start, %s', (_what, args) => {
  it('are told at SIGTERM that it stops, and hold nothing up', async () => {
    const running = await site.start(args)
    const jar = await logInAt(running.url)
    // Two of each: connections go to workers in turn.
    const sockets = [await openSocket(running, jar), await openSocket(running, jar)]
    const streams = [await openEvents(running, jar), await openEvents(running, jar)]
    running.kill('SIGTERM')
    expect(await endsOf(sockets)).toEqual(['1001 shutting_down', '1001 shutting_down'])
    for (const text of await endsOf(streams)) {
      expect(text).toBe('data: first\n\nevent: shutting_down\ndata: {"code":"shutting_down"}\n\n')
    }
    expect(await running.ended).toMatchObject({ code: 0, stderr: '' })
    await until('the close at the API', () => echo.closes.length === 2)
    expect(echo.closes).toEqual(Array.from({ length: 2 }, () => ({ code: 1001, reason: 'shutting_down' })))
  }, 60_000)

  it('end with a logout at whichever process', async () => {
    const running = await site.start(args)
    const jar = await logInAt(running.url)
    const sockets = [await openSocket(running, jar), await openSocket(running, jar)]
    const streams = [await openEvents(running, jar), await openEvents(running, jar)]
    expect((await callAt(running.url, '/oauth-agent/logout', jar, 'POST')).status).toBe(200)
    expect(await endsOf(sockets)).toEqual(['4401 session_ended', '4401 session_ended'])
    for (const text of await endsOf(streams)) expect(text).toContain('event: session_ended\n')
    running.kill('SIGTERM')
    expect((await running.ended).code).toBe(0)
  }, 60_000)
})
