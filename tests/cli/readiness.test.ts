import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { fixedKeys, startTokenHandler, type RunningTokenHandler } from '@token-handler/cli'
import { checkConfig, generateKeyFile, silentLogger } from '@token-handler/shared'
import { configured } from '../shared/configuration.ts'
import { until } from '../support/until.ts'

const context = { issuer: 'https://as.example', clientId: 'spa' }

describe('/readyz', () => {
  let folder: string
  let running: RunningTokenHandler
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'readiness-'))
  })
  afterEach(async () => {
    await running.close()
    rmSync(folder, { recursive: true })
  })

  /** A proxy alone, which waits for no authorization server. */
  async function start(audit: object): Promise<void> {
    running = await startTokenHandler({
      config: checkConfig(
        configured({ listen: { port: 0 }, admin: { port: 0 }, ledger: { type: 'memory' }, shutdown_seconds: 0, audit }),
        { only: 'proxy' },
      ),
      keys: fixedKeys(generateKeyFile(new Date()), context),
      logger: silentLogger,
      only: 'proxy',
    })
  }
  async function readyz(): Promise<[number, unknown]> {
    const { adminServer } = running
    if (adminServer === undefined) throw new Error('an admin listener')
    const { port } = adminServer.address() as AddressInfo
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`)
    return [answer.status, await answer.json()]
  }
  const parts = { ledger: 'available', stale_rules: 'fail_closed' }

  it('is not ready while requests are refused because they cannot be recorded, and is again afterwards', async () => {
    const records = join(folder, 'audit')
    writeFileSync(records, 'a file where the folder should be')
    await start({ sink: 'files', folder: records, on_lost_sink: 'block' })
    await until('it is not ready', async () => (await readyz())[0] === 503)
    expect(await readyz()).toEqual([503, { ready: false, ...parts, audit: 'unavailable' }])
    rmSync(records)
    await until('it is ready', async () => (await readyz())[0] === 200)
    expect(await readyz()).toEqual([200, { ready: true, ...parts, audit: 'available' }])
  })

  it('is ready where requests go on without a record, and tells that there is none', async () => {
    const records = join(folder, 'audit')
    writeFileSync(records, 'a file where the folder should be')
    await start({ sink: 'files', folder: records })
    await until('it is told', async () => JSON.stringify(await readyz()).includes('"audit":"unavailable"'))
    expect(await readyz()).toEqual([200, { ready: true, ...parts, audit: 'unavailable' }])
  })

  it('says nothing of an audit log that is off', async () => {
    await start({ sink: 'off' })
    expect(await readyz()).toEqual([200, { ready: true, ...parts }])
  })
})
