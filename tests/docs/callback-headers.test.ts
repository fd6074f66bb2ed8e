import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { createSpaHandler } from '@token-handler/cli'
import { silentLogger } from '@token-handler/shared'

const read = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')
const origin = 'https://www.example.com'
const page = read('spa-example/client/callback/callback.html')
let served: Headers

/** What `spa.root` sends with the package's callback page is what all the others have to send. */
beforeAll(async () => {
  const root = mkdtempSync(join(tmpdir(), 'callback-headers-'))
  writeFileSync(join(root, 'index.html'), '<html></html>')
  writeFileSync(join(root, 'callback.html'), page)
  const app = createSpaHandler({ root, origin, callbackPath: '/callback', connectOrigins: [], logger: silentLogger })
  rmSync(root, { recursive: true })
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  served = (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`)).headers
  server.close()
})

const names = [
  'Cache-Control',
  'Content-Security-Policy',
  'Cross-Origin-Opener-Policy',
  'Referrer-Policy',
  'X-Content-Type-Options',
]

/** The callback page of the package brings no style. */
const expected = (): Record<string, string | undefined> =>
  Object.fromEntries(names.map((name) => [name, served.get(name)?.replace("style-src 'none'; ", '')]))

describe('the headers of the callback page', () => {
  it('are those of spa.root in the package, too', () => {
    const lines = [...page.matchAll(/^ {4}([A-Z][\w-]+): (.+)$/gm)]
    expect(Object.fromEntries(lines.map(([, name, value]) => [name, value]))).toEqual(expected())
  })

  it('are those of spa.root in the recipe for nginx, too', () => {
    const lines = [...read('docs/getting-started.md').matchAll(/add_header ([\w-]+) "?([^"\n]+?)"? always;/g)]
    expect(Object.fromEntries(lines.map(([, name, value]) => [name, value]))).toEqual(expected())
  })

  it('are all named where they are explained', () => {
    const decision = read('docs/decisions/0003-callback-page.md')
    expect(names.filter((name) => !decision.includes(`${name}: `))).toEqual([])
  })
})
