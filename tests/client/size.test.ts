import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { viteBuild } from './vite-build.ts'

const CLIENT = join(import.meta.dirname, '../../spa-example/client')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'client-size-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** The only script of a production build of one program. */
async function bundle(name: string, program: string): Promise<string> {
  const input = join(folder, `${name}.js`)
  const outDir = join(folder, name)
  await writeFile(input, program)
  await viteBuild({
    root: folder,
    configFile: false,
    build: { outDir, modulePreload: false, rolldownOptions: { input } },
  })
  const files = await readdir(join(outDir, 'assets'))
  expect(files).toHaveLength(1)
  return readFile(join(outDir, 'assets', files[0] ?? ''), 'utf8')
}

const client = `import { createTokenHandlerClient } from '${CLIENT}/src/index.ts'\nwindow.client = createTokenHandlerClient()`

/** The client alone, and what each further module adds to it. */
describe('the bundled library', () => {
  it.each([
    ['client', client, 5600],
    ['callback', `import '${CLIENT}/callback/callback.ts'`, 4000],
    [
      'capabilities',
      `import * as capabilities from '${CLIENT}/src/capabilities.ts'\n${client}\nwindow.more = { ...capabilities }`,
      7200,
    ],
    ['streams', `import * as streams from '${CLIENT}/src/streams.ts'\n${client}\nwindow.more = { ...streams }`, 7500],
    ['step-up', `import * as stepUp from '${CLIENT}/src/step-up.ts'\n${client}\nwindow.more = { ...stepUp }`, 6200],
  ])('%s stays below its size, gzipped', async (name, program, most) => {
    const code = await bundle(name, program)
    expect(code).toContain('token-handler-version')
    expect(gzipSync(code).length).toBeLessThan(most)
  })

  it('has nothing of the modules that are not used', async () => {
    const code = await bundle('alone', client)
    for (const word of ['capabilities/', 'WebSocket', 'event-stream', 'XMLHttpRequest', 'keptAt']) {
      expect(code).not.toContain(word)
    }
  })

  it('is left out where nothing of it is used: importing it does nothing', async () => {
    const code = await bundle(
      'unused',
      `import { SessionEndedError } from '${CLIENT}/src/index.ts'\nwindow.use = SessionEndedError`,
    )
    expect(code).toContain('SessionEndedError')
    expect(code).not.toContain('token-handler-version')
  })
})

describe('the packed callback script', () => {
  it('is one file that imports nothing', async () => {
    const outDir = join(folder, 'packed')
    await viteBuild({ configFile: join(CLIENT, 'callback/vite.config.ts'), build: { outDir } })
    expect(await readdir(outDir)).toEqual(['callback.js'])
    expect(await readFile(join(outDir, 'callback.js'), 'utf8')).not.toMatch(/\bimport\b/)
  })
})
