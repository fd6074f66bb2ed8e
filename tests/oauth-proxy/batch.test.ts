import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createBatch, createCallBatch } from '../../oauth-proxy/src/batch.ts'
import { openClient } from '../support/raw-client.ts'
import { startProxy } from './proxy-under-test.ts'

const closings: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closings.splice(0).toReversed()) await close()
})

describe('a batch', () => {
  it('does what came in one turn in its order, and what comes meanwhile in the next', async () => {
    const done: string[] = []
    const batch = createBatch((name: string) => {
      done.push(name)
      if (name === 'first') batch('later')
    })
    batch('first')
    batch('second')
    expect(done).toEqual([])
    await turn()
    expect(done).toEqual(['first', 'second'])
    await turn()
    expect(done).toEqual(['first', 'second', 'later'])
  })

  it('of calls gives each one the asynchronous context that it came in', async () => {
    const contexts = new AsyncLocalStorage<number>()
    const seen: (number | undefined)[] = []
    const batch = createCallBatch()
    for (const id of [1, 2, 3]) contexts.run(id, () => batch(() => seen.push(contexts.getStore())))
    batch(() => seen.push(contexts.getStore()))
    await turn()
    expect(seen).toEqual([1, 2, 3, undefined])
  })
})

describe('requests of one turn', () => {
  it('keep the context that the app gave them, and each gets its own answer', async () => {
    const contexts = new AsyncLocalStorage<string>()
    const underTest = await startProxy({ routes: [{}] })
    const { proxy, upstream } = underTest
    closings.push(() => underTest.close())
    const seen: [url: string | undefined, context: string | undefined][] = []
    const server = createServer((req, res) => {
      contexts.run(`context of ${req.url}`, () =>
        proxy.handle(req, res, () => {
          seen.push([req.url, contexts.getStore()])
          res.end(`app ${req.url}`)
        }),
      )
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    closings.push(() => {
      server.closeAllConnections()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const targets = Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? `/api/${index}` : `/page/${index}`))
    // On one connection, so that one read brings all of them.
    const client = await openClient(port)
    closings.push(() => client.destroy())
    client.send(targets.map((target) => underTest.bytes(`GET ${target}`)).join(''))
    const answers = []
    for (const _ of targets) answers.push(await client.answer())
    expect(answers.map(({ status, body }) => [status, body])).toEqual(
      targets.map((target) => [200, target.startsWith('/api') ? '{"ok":true}' : `app ${target}`]),
    )
    expect(upstream.requests.map(({ target }) => target).toSorted()).toEqual(
      targets.filter((target) => target.startsWith('/api')).toSorted(),
    )
    expect(seen).toEqual(
      targets.filter((target) => target.startsWith('/page')).map((target) => [target, `context of ${target}`]),
    )
  })
})
