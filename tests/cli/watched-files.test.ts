import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { watchedFiles, type WatchedFiles } from '../../cli/src/watched-files.ts'
import { until } from '../support/until.ts'

describe('watched files', () => {
  let folder: string
  let path: string
  let files: WatchedFiles
  let changes: number

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'watched-'))
    path = join(folder, 'file')
    writeFileSync(path, 'before')
    files = watchedFiles([path, join(folder, 'other')], 10)
    changes = 0
  })
  afterEach(() => {
    files.close()
    rmSync(folder, { recursive: true })
  })
  const watch = (): void => files.watch(() => changes++)
  const replaceWith = (text: string): void => {
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  }

  it('tell of a change before anybody had the time to look', async () => {
    replaceWith('during')
    watch()
    await until('the change', () => changes === 1)
    replaceWith('after!')
    await until('the next change', () => changes > 1)
    expect(changes).toBe(2)
  })

  it('tell of one that is written to, removed, or made', async () => {
    watch()
    writeFileSync(path, 'BEFORE')
    await until('the write', () => changes > 0)
    changes = 0
    rmSync(path)
    await until('the removal', () => changes > 0)
    changes = 0
    writeFileSync(join(folder, 'new'), 'made')
    renameSync(join(folder, 'new'), join(folder, 'other'))
    await until('the file', () => changes > 0)
    expect(changes).toBe(1)
  })

  it('tell of a link that leads elsewhere, as those of mounted secrets do', async () => {
    files.close()
    symlinkSync('file', join(folder, 'link'))
    writeFileSync(join(folder, 'next'), 'before')
    files = watchedFiles([join(folder, 'link')], 10)
    watch()
    symlinkSync('next', join(folder, 'link.new'))
    renameSync(join(folder, 'link.new'), join(folder, 'link'))
    await until('the change', () => changes > 0)
    expect(changes).toBe(1)
  })

  it('tell nothing where nothing has changed, and nothing any more once they are let go', async () => {
    let looks = 0
    const other = watchedFiles([path], 10)
    watch()
    replaceWith('after')
    other.watch(() => looks++)
    await until('others saw it', () => looks === 1 && changes === 1)
    other.close()
    replaceWith('after that')
    await until('the next change', () => changes === 2)
    expect([looks, changes]).toEqual([1, 2])
  })
})
