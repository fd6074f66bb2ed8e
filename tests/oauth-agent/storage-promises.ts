import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { fakeClock } from '../support/clock.ts'
import type { RunningStorage } from '../support/s3-server.ts'
import { presignedCapability } from './capability-options.ts'
import type { Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

interface Presigned {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly fields?: Readonly<Record<string, string>>
}

/**
 * What a storage does with what the agent signs.
 * @param settings.isStrict It also checks the policies of forms, and refuses what is not signed.
 */
export function itKeepsStoragePromises(
  start: () => Promise<RunningStorage>,
  { isStrict }: { readonly isStrict: boolean },
): void {
  let storage: RunningStorage
  let scripted: Scripted
  let browser: Browser
  const clock = fakeClock(Date.now())
  beforeAll(async () => {
    storage = await start()
    process.env['AWS_ACCESS_KEY_ID'] = storage.accessKeyId
    process.env['AWS_SECRET_ACCESS_KEY'] = storage.secretAccessKey
    const { endpoint } = storage
    const capabilities = (['PUT', 'GET', 'POST'] as const).map((one) => presignedCapability(one, { endpoint }))
    scripted = await startScripted({ clock, options: { capabilities, detailedErrors: true } })
    browser = await scripted.loggedIn()
  })
  afterAll(async () => {
    await scripted?.close()
    await storage?.close()
  })

  async function issue(name: string, input: Readonly<Record<string, unknown>>, from = browser): Promise<Presigned> {
    const answer = await from.post(`capabilities/${name}`, JSON.stringify(input), {
      'content-type': 'application/json',
    })
    expect([answer.status, answer.json]).toMatchObject([200, { kind: 's3-presigned' }])
    return answer.json as unknown as Presigned
  }

  const upload = (file: string, text: string, more = {}) =>
    issue('put', { file, content_type: 'text/plain', content_length: text.length, ...more })
  const form = (file: string, length: number) =>
    issue('post', { file, content_type: 'text/plain', content_length: length })

  async function send(
    { url, method, headers }: Presigned,
    body?: string,
    change: { url?: string; method?: string; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; text: string }> {
    // Fetch sets the length itself.
    const { 'content-length': _length, ...signed } = headers
    const response = await fetch(change.url ?? url, {
      method: change.method ?? method,
      headers: { ...signed, ...change.headers },
      ...(body === undefined ? {} : { body }),
    })
    return { status: response.status, text: await response.text() }
  }

  async function post({ url, fields }: Presigned, text: string, change: Record<string, string> = {}): Promise<number> {
    const body = new FormData()
    for (const [name, value] of Object.entries({ ...fields, ...change })) body.append(name, value)
    body.append('file', new Blob([text], { type: 'text/plain' }), 'a.txt')
    const response = await fetch(url, { method: 'POST', body })
    await response.text()
    return response.status
  }

  it('takes an upload and gives it back', async () => {
    expect((await send(await upload('häuser & mehr.txt', 'Grüße'.normalize('NFC').slice(0, 2), {}), 'Gr')).status).toBe(
      200,
    )
    const got = await send(await issue('get', { file: 'häuser & mehr.txt' }))
    expect(got).toEqual({ status: 200, text: 'Gr' })
  })

  it('takes an upload with a checksum', async () => {
    const checksum = createHash('sha256').update('hello').digest('base64')
    const signed = await upload('sum.txt', 'hello', { checksum_sha256: checksum })
    expect(signed.headers['x-amz-checksum-sha256']).toBe(checksum)
    expect(new URL(signed.url).searchParams.get('X-Amz-SignedHeaders')).toBe(
      'content-length;content-type;host;x-amz-checksum-sha256',
    )
    const other = { 'x-amz-checksum-sha256': createHash('sha256').update('other').digest('base64') }
    expect((await send(signed, 'hello', { headers: other })).status).toBe(403)
    expect((await send(signed, 'hello')).status).toBe(200)
  })

  it('takes a form, and gives back what was in it', async () => {
    expect([200, 201, 204]).toContain(await post(await form('form.txt', 5), 'hello'))
    expect(await send(await issue('get', { file: 'form.txt' }))).toEqual({ status: 200, text: 'hello' })
  })

  it('refuses what is expired', async () => {
    const put = await upload('late.txt', 'late')
    const get = await issue('get', { file: 'sum.txt' })
    clock.jump(-3_600_000)
    const [oldPut, oldGet] = [await upload('late.txt', 'late'), await issue('get', { file: 'sum.txt' })]
    clock.jump(3_600_000)
    expect((await send(oldPut, 'late')).status).toBe(403)
    expect((await send(oldGet)).status).toBe(403)
    const stretched = oldPut.url.replace(/X-Amz-Expires=\d+/, 'X-Amz-Expires=86400')
    expect((await send(oldPut, 'late', { url: stretched })).status).toBe(403)
    expect((await send(get)).status).toBe(200)
    expect((await send(put, 'late')).status).toBe(200)
  })

  it.each([
    [
      'another signature',
      (url: string) => url.replace(/Signature=./, (text) => (text.endsWith('0') ? 'Signature=1' : 'Signature=0')),
    ],
    ['another key', (url: string) => url.replace('mine.txt', 'other.txt')],
    ['the prefix of another user', (url: string) => url.replace('subject-1', 'subject-2')],
    ['another bucket', (url: string) => url.replace('/files/', '/file2/')],
  ])('refuses %s', async (_, change) => {
    const put = await upload('mine.txt', 'mine')
    const get = await issue('get', { file: 'mine.txt' })
    expect(change(put.url)).not.toBe(put.url)
    expect((await send(put, 'mine', { url: change(put.url) })).status).toBeGreaterThanOrEqual(403)
    expect((await send(get, undefined, { url: change(get.url) })).status).toBeGreaterThanOrEqual(403)
    expect((await send(put, 'mine')).status).toBe(200)
  })

  it('refuses another method', async () => {
    const put = await upload('method.txt', 'text')
    const get = await issue('get', { file: 'sum.txt' })
    expect((await send(put, undefined, { method: 'DELETE' })).status).toBe(403)
    expect((await send(get, 'text', { method: 'PUT' })).status).toBe(403)
    expect((await send(get, undefined, { method: 'DELETE' })).status).toBe(403)
  })

  it('refuses another media type, and another length', async () => {
    const put = await upload('type.txt', 'text')
    expect((await send(put, 'text', { headers: { 'content-type': 'text/html' } })).status).toBe(403)
    expect((await send(put, 'text and more')).status).toBe(403)
  })

  it('keeps users apart', async () => {
    scripted.server.subject = 'subject-2'
    const other = await scripted.loggedIn()
    scripted.server.subject = 'subject-1'
    const got = await send(await issue('get', { file: 'sum.txt' }, other))
    expect([403, 404]).toContain(got.status)
  })

  if (!isStrict) return

  it('refuses a form with another key, type, length or signature', async () => {
    const signed = await form('strict.txt', 5)
    const key = signed.fields?.['key'] ?? ''
    expect(key).toBe('uploads/subject-1/strict.txt')
    expect(await post(signed, 'hello', { key: 'uploads/subject-2/strict.txt' })).toBe(403)
    expect(await post(signed, 'hello', { 'Content-Type': 'text/html' })).toBe(403)
    expect(await post(signed, 'hello', { 'X-Amz-Signature': '0'.repeat(64) })).toBe(403)
    expect([400, 403, 413]).toContain(await post(signed, 'hello and more'))
    expect([400, 403, 413]).toContain(await post(signed, 'hi'))
  })

  it('refuses what is not signed', async () => {
    const put = await upload('unsigned.txt', 'text')
    const bare = put.url.split('?', 1)[0] ?? ''
    expect((await send(put, 'text', { url: bare })).status).toBe(403)
    const read = await send(put, undefined, { url: bare.replace('unsigned', 'sum'), method: 'GET' })
    expect(read.status).toBe(403)
  })
}
