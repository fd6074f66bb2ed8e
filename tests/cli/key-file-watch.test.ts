import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { watchKeyFile, type KeyRingSource } from '@token-handler/cli'
import { generateKeyFile, type KeyFile } from '@token-handler/shared'
import { keptLog, type KeptLog } from '../support/kept-log.ts'

describe('a key file that is read again', () => {
  let folder: string
  let log: KeptLog
  let source: KeyRingSource
  const before = generateKeyFile(new Date())
  const [known] = before.keys
  const [fresh] = generateKeyFile(new Date()).keys

  const write = (file: KeyFile): void => writeFileSync(join(folder, 'keys.json'), JSON.stringify(file))
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'key-file-'))
    log = keptLog()
    write(before)
    source = watchKeyFile(join(folder, 'keys.json'), { issuer: 'https://as.example', clientId: 'spa' }, log.logger)
  })
  afterEach(() => {
    source.close()
    rmSync(folder, { recursive: true })
  })

  it('[E-KM-04] is warned of when no key in force is left: nobody is logged in any more', () => {
    write({ ...before, keys: [fresh] } as KeyFile)
    source.reload()
    expect(source.current().kids).toEqual([fresh?.kid])
    expect(log.events()).toEqual(['keys_reloaded', 'keys_replaced'])
    expect(log.lines.at(-1)).toContain('put the former key file back')
  })

  it('is taken without a word when one of them is left', () => {
    write({ ...before, keys: [known, { ...fresh, state: 'pending' }] } as KeyFile)
    source.reload()
    expect(source.current().kids).toEqual([known?.kid, fresh?.kid])
    expect(log.events()).toEqual(['keys_reloaded'])
  })
})
