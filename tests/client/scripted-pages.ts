import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { extname, join, normalize } from 'node:path'
import type { Answer, Received } from './scripted-server.ts'

const CLIENT = join(import.meta.dirname, '../../spa-example/client')
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

const PAGE = '<!doctype html><title>test page</title><script type="module" src="/page.js"></script>'
const PAGE_SCRIPT = `import * as library from '/src/index.ts'
import * as capabilities from '/src/capabilities.ts'
import * as streams from '/src/streams.ts'
import * as stepUp from '/src/step-up.ts'
window.library = { ...library, ...capabilities, ...streams, ...stepUp }
window.client = library.createTokenHandlerClient()
`

/** The test page with the library's sources as they are, or a built SPA with its deep links. */
export function createPages(spaRoot: string | undefined): (request: Received) => Promise<Answer | undefined> {
  const files = spaRoot === undefined ? undefined : (path: string) => readFile(join(spaRoot, normalize(path)), 'utf8')
  return async ({ method, path }) => {
    if (method !== 'GET') return undefined
    if (path.startsWith('/src/')) return script(await readFile(join(CLIENT, normalize(path)), 'utf8'))
    if (files !== undefined) {
      const file = path === '/callback' ? '/callback.html' : extname(path) === '' ? '/index.html' : path
      return { status: 200, headers: { 'content-type': TYPES[extname(file)] ?? 'text/plain' }, body: await files(file) }
    }
    if (path === '/callback') return html(await readFile(join(CLIENT, 'callback/callback.html'), 'utf8'))
    if (path === '/callback.js') {
      // One folder up is the root here: the sources are served where the browser then looks.
      return script(await readFile(join(CLIENT, 'callback/callback.ts'), 'utf8'))
    }
    return path === '/page.js' ? script(PAGE_SCRIPT) : html(PAGE)
  }
}

function script(source: string): Answer {
  return { status: 200, headers: { 'content-type': 'text/javascript' }, body: stripTypeScriptTypes(source) }
}

function html(body: string): Answer {
  return { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body }
}
