import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it } from '@jest/globals'
import type { AuditCounts } from '@token-handler/shared'
import { until } from '../support/until.ts'
import { parseRecords } from './audit-kit.ts'

it('a reader of standard output that does not read stops nothing, and learns afterwards what it missed', async () => {
  const script = fileURLToPath(new URL('audit-stdout-process.ts', import.meta.url))
  const child = spawn(process.execPath, ['--conditions=token-handler-source', script], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { PATH: process.env['PATH'] ?? '', NODE_NO_WARNINGS: '1' },
  })
  const ended = once(child, 'exit')
  async function order(what: number | 'counts'): Promise<AuditCounts> {
    const answer = once(child, 'message')
    child.send(what)
    return ((await answer) as [AuditCounts])[0]
  }
  // More than a pipe and Node's buffers hold.
  await order(0)
  let recorded = 0
  await until('the pipe is full', async () => {
    recorded += 50
    const { lost, pending } = await order(50)
    return lost > 0 && pending === 300
  })
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  await until('all is written', async () => (await order('counts')).pending === 0)
  const { lost } = await order('counts')
  child.send('close')
  expect(await ended).toEqual([0, null])
  const records = parseRecords(text)
  expect(records.map(({ n }) => n)).toEqual(records.map((_record, at) => at))
  expect(records.filter(({ event }) => event === 'login')).toHaveLength(recorded - lost)
  expect(records.find(({ event }) => event === 'records_lost')).toMatchObject({ details: { count: lost } })
  expect(records.at(-1)?.event).toBe('log_closed')
}, 120_000)
