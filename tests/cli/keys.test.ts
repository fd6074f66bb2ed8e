import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { keyFileSchema, type KeyFile } from '@token-handler/shared'
import { Canaries } from '../support/canary.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'

let folder: WorkingFolder
beforeEach(() => {
  folder = workingFolder()
})
afterEach(() => folder.remove())

const parsed = (text: string): KeyFile => keyFileSchema.parse(JSON.parse(text))
const keysIn = (file: KeyFile): string[] =>
  file.keys.flatMap(({ key, derived }) => [...(key === undefined ? [] : [key]), ...Object.values(derived ?? {})])

describe('token-handler keys generate', () => {
  it('prints a key file, another one each time', async () => {
    const [first, second] = await Promise.all([folder.run(['keys', 'generate']), folder.run(['keys', 'generate'])])
    expect([first?.code, first?.stderr]).toEqual([0, ''])
    expect(keysIn(parsed(first?.stdout ?? ''))).toHaveLength(1)
    expect(first?.stdout).not.toBe(second?.stdout)
  })

  it('[E-KM-08] writes a file that only its owner can read, and prints nothing', async () => {
    const { code, stdout, stderr } = await folder.run(['keys', 'generate', '--out', 'keys.json'])
    expect([code, stdout, stderr]).toEqual([0, '', ''])
    expect(statSync(join(folder.path, 'keys.json')).mode & 0o777).toBe(0o600)
    expect(parsed(folder.read('keys.json')).keys).toMatchObject([{ state: 'active' }])
  })

  it('never overwrites a file: its keys would be lost', async () => {
    folder.write('keys.json', 'precious')
    const { code, stderr } = await folder.run(['keys', 'generate', '--out', 'keys.json'])
    expect(code).toBe(2)
    expect(stderr).toContain('keys.json exists already; choose another name')
    expect(folder.read('keys.json')).toBe('precious')
  })

  it('says in one line why it cannot write', async () => {
    const { code, stderr } = await folder.run(['keys', 'generate', '--out', 'no/such/folder.json'])
    expect(code).toBe(1)
    expect(stderr).toBe("token-handler: ENOENT: no such file or directory, open 'no/such/folder.json'\n")
  })
})

describe('token-handler keys list', () => {
  it('[E-KM-08] shows ids and states, and never a key', async () => {
    const canaries = new Canaries()
    const [active, old] = await Promise.all([folder.run(['keys', 'generate']), folder.run(['keys', 'generate'])])
    const [first, second] = [active, old].map(({ stdout }) => parsed(stdout).keys[0])
    if (first === undefined || second === undefined) throw new Error('both have a key')
    const file = { keys: [first, { ...second, state: 'open-only', created: undefined }] }
    folder.write('keys.json', JSON.stringify(file))
    keysIn(parsed(folder.read('keys.json'))).forEach((key, at) => canaries.watch(`key ${at}`, key))

    const { code, stdout, stderr } = await folder.run(['keys', 'list', '--file', 'keys.json'])
    expect([code, stderr]).toEqual([0, ''])
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/))
    expect(rows).toEqual([
      [first.kid, 'active', first.created, 'all purposes'],
      [second.kid, 'open-only', '-', 'all purposes'],
    ])
    expect(canaries.find(stdout)).toEqual([])
  })

  it('takes the configured file unless one is named', async () => {
    folder.configure({})
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    const listed = await folder.run(['keys', 'list'])
    expect(listed).toMatchObject({ code: 0, stderr: '' })
    expect(listed).toEqual(await folder.run(['keys', 'list', '--file', 'keys.json']))
  })

  it('[E-KM-08] refuses a file that is not right without quoting it', async () => {
    folder.write('keys.json', JSON.stringify({ keys: [{ kid: 'a', state: 'active', key: 'not-a-good-key' }] }))
    const { code, stdout, stderr } = await folder.run(['keys', 'list', '--file', 'keys.json'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('keys[0].key: must be 32 random bytes as base64url')
    expect(stderr).not.toContain('not-a-good-key')
  })
})

describe('token-handler keys export', () => {
  it('[E-KM-07] gives a proxy what opens access tokens and records, in a file of its owner', async () => {
    folder.configure({})
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    expect(await folder.run(['keys', 'export', '--purpose', 'access-token', '--out', 'proxy.json'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
    const [all, exported] = [parsed(folder.read('keys.json')), parsed(folder.read('proxy.json'))]
    expect(statSync(join(folder.path, 'proxy.json')).mode & 0o777).toBe(0o600)
    expect(exported.keys.map(({ derived }) => Object.keys(derived ?? {}))).toEqual([['access-token', 'audit']])
    expect(exported.keys.map(({ kid }) => kid)).toEqual(all.keys.map(({ kid }) => kid))
    expect(folder.read('proxy.json')).not.toContain(all.keys[0]?.key ?? '')
    expect((await folder.run(['keys', 'list', '--file', 'proxy.json'])).stdout).toMatch(/ access-token, audit\n$/)
  })

  it('[E-KM-07] needs no secret of the configuration, nor do the other commands on keys', async () => {
    folder.configure({
      authorization_server: { client_authentication: { client_secret: '${CLIENT_SECRET}' } },
      admin: { port: 3001, keys: { 'on-call': '${ADMIN_KEY}' } },
    })
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    for (const args of [
      ['keys', 'export', '--purpose', 'access-token', '--out', 'proxy.json'],
      ['keys', 'add'],
    ]) {
      expect(await folder.run(args)).toMatchObject({ code: 0, stderr: '' })
    }
  })

  it('[E-DS-02] depends on issuer and client', async () => {
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    const exported: string[] = []
    for (const server of [{}, { client_id: 'other' }, { issuer: 'https://other.example' }]) {
      folder.configure({ authorization_server: server })
      exported.push((await folder.run(['keys', 'export', '--purpose', 'access-token'])).stdout)
    }
    expect(new Set(exported.flatMap((text) => keysIn(parsed(text)))).size).toBe(6)
  })
})
