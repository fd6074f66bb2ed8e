import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Page } from 'playwright-core'
import type { Capabilities } from '@token-handler/client/capabilities'
import { json } from './scripted-agent.ts'
import type { Answer, Received } from './scripted-server.ts'
import { failureOf, useTestBed } from './test-page.ts'

const bed = useTestBed()
const ROUTE = 'POST /oauth-agent/capabilities/uploads'

declare global {
  interface Window {
    capabilities: Capabilities
    progress: { sentBytes: number; totalBytes: number }[]
    aborting: AbortController
  }
}

let issued = 0
beforeEach(() => {
  issued = 0
})

/** Another origin, as a storage is. */
function storageUrl(path: string): string {
  return `http://127.0.0.1:${bed.server.port}${path}`
}

function issue(answer: (number: number) => Record<string, unknown>): void {
  bed.server.script(ROUTE, () => json(200, { kind: 's3-presigned', expires_in: 300, ...answer((issued += 1)) }))
}

async function open(): Promise<Page> {
  bed.server.corsOrigins.push(bed.server.origin)
  const page = await bed.logIn()
  await page.evaluate(() => {
    window.capabilities = window.library.createCapabilities(window.client)
    window.progress = []
    window.aborting = new AbortController()
  })
  return page
}

const xml = (status: number, code: string, message = ''): Answer => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
})

describe('capability', () => {
  it('asks the agent with JSON and the version header, and answers what it says', async () => {
    const page = await open()
    issue(() => ({ url: storageUrl('/b/k'), method: 'PUT', headers: { 'content-type': 'image/png' } }))
    const capability = await page.evaluate(() => window.capabilities.capability('uploads', { file: 'a.png', size: 3 }))
    expect(capability).toMatchObject({
      kind: 's3-presigned',
      url: storageUrl('/b/k'),
      method: 'PUT',
      headers: { 'content-type': 'image/png' },
    })
    const [asked] = bed.server.receivedAt(ROUTE)
    expect(asked?.headers).toMatchObject({ 'content-type': 'application/json', 'token-handler-version': '1' })
    expect(JSON.parse(asked?.body.toString() ?? '')).toEqual({ file: 'a.png', size: 3 })
  })

  it('is shared by equal calls, at the same time and later, and not by others', async () => {
    const page = await open()
    issue((number) => ({ kind: 'jwt', token: `t${number}` }))
    const tokens = await page.evaluate(async () => {
      const capability: Capabilities['capability'] = (...given) => window.capabilities.capability(...given)
      const answers = [
        ...(await Promise.all([capability('uploads', { a: 1 }), capability('uploads', { a: 1 })])),
        await capability('uploads', { a: 1 }),
        await capability('uploads', { a: 2 }),
        await capability('uploads'),
      ]
      return answers.map(({ token }) => token)
    })
    expect(tokens).toEqual(['t1', 't1', 't1', 't2', 't3'])
  })

  it('is renewed when 80 % of its life are over, by a clock that nobody sets', async () => {
    const page = await open()
    issue((number) => ({ kind: 'jwt', token: `t${number}`, expires_in: 100 }))
    const tokens = await page.evaluate(async () => {
      const now = performance.now.bind(performance)
      let ahead = 0
      performance.now = () => now() + ahead
      const answers = []
      for (const seconds of [0, 79, 81, 159, 162]) {
        ahead = seconds * 1000
        answers.push((await window.capabilities.capability('uploads')).token)
      }
      return answers
    })
    expect(tokens).toEqual(['t1', 't1', 't2', 't2', 't3'])
  })

  it('is never kept when the agent does not say how long it lives', async () => {
    const page = await open()
    issue(() => ({ kind: 'jwt', token: 't', expires_in: undefined }))
    await page.evaluate(() => window.capabilities.capability('uploads'))
    await page.evaluate(() => window.capabilities.capability('uploads'))
    expect(issued).toBe(2)
  })

  it('is nowhere but in memory', async () => {
    const page = await open()
    issue(() => ({ kind: 'jwt', token: 'the-token' }))
    await page.evaluate(() => window.capabilities.capability('uploads'))
    const seen = await page.evaluate(async () =>
      JSON.stringify([
        Object.entries(localStorage),
        Object.entries(sessionStorage),
        document.cookie,
        await indexedDB.databases(),
      ]),
    )
    expect(seen).not.toContain('the-token')
    await page.reload()
    await page.waitForFunction(() => 'client' in window)
    await page.evaluate(() => window.library.createCapabilities(window.client).capability('uploads'))
    expect(issued).toBe(2)
  })

  it.each<[string, () => Promise<unknown>]>([
    ['a logout', () => window.client.logout({ navigate: false })],
    ['clear()', async () => window.capabilities.clear()],
  ])('is forgotten with %s', async (_name, end) => {
    const page = await open()
    issue((number) => ({ kind: 'jwt', token: `t${number}` }))
    await page.evaluate(() => window.capabilities.capability('uploads'))
    await page.evaluate(end)
    expect(await page.evaluate(async () => (await window.capabilities.capability('uploads')).token)).toBe('t2')
  })

  it('is forgotten when another user logs in in another tab', async () => {
    const page = await open()
    issue((number) => ({ kind: 'jwt', token: `t${number}` }))
    await page.evaluate(() => window.capabilities.capability('uploads'))
    bed.server.agent.claims = { sub: 'somebody-else' }
    await bed.logInThroughPages()
    await page.waitForFunction(() => window.client.current?.idTokenClaims?.['sub'] === 'somebody-else')
    expect(await page.evaluate(async () => (await window.capabilities.capability('uploads')).token)).toBe('t2')
  })

  it('is not handed out when the session changed while it was on its way', async () => {
    const page = await open()
    issue(() => ({ kind: 'jwt', token: 't' }))
    const held = bed.server.hold(ROUTE)
    const failure = failureOf(page, () => window.capabilities.capability('uploads'))
    await held.arrived(1)
    await page.evaluate(() => window.client.logout({ navigate: false }))
    held.release()
    expect(await failure).toMatchObject({ name: 'SessionEndedError', code: 'session_ended' })
  })

  it('ends the session in all tabs when the agent says that there is none', async () => {
    const page = await open()
    const other = await bed.open()
    await other.evaluate(() => window.client.session())
    bed.server.agent.endSession()
    bed.server.script(ROUTE, () => json(401, { error_code: 'session_expired' }))
    expect(await failureOf(page, () => window.capabilities.capability('uploads'))).toMatchObject({
      name: 'SessionEndedError',
      code: 'session_expired',
    })
    await other.waitForFunction(() => window.client.current?.isLoggedIn === false)
  })

  it.each([
    ['once, when a login had replaced the session that it was asked with', 1, undefined],
    ['not for ever', 2, 'SessionEndedError'],
  ])('is asked for again %s', async (_name, refusals, error) => {
    const page = await open()
    issue((number) => ({ kind: 'jwt', token: `t${number}` }))
    bed.server.script(ROUTE, () =>
      bed.server.receivedAt(ROUTE).length <= refusals ? json(401, { error_code: 'session_expired' }) : undefined,
    )
    const failure = await failureOf(page, () => window.capabilities.capability('uploads'))
    expect(failure?.['name']).toBe(error)
    expect(bed.server.receivedAt(ROUTE)).toHaveLength(2)
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('throws what a login has to reach, and leaves the session as it is', async () => {
    const page = await open()
    const challenge = 'Bearer error="insufficient_user_authentication", acr_values="urn:mfa urn:key", max_age="60"'
    bed.server.script(ROUTE, () => json(401, { error_code: 'step_up_required' }, [], { 'www-authenticate': challenge }))
    const error = await failureOf(page, () => window.capabilities.capability('uploads'))
    expect(error).toMatchObject({
      name: 'StepUpRequiredError',
      code: 'step_up_required',
      acrValues: ['urn:mfa', 'urn:key'],
      maxAge: 60,
    })
    expect(await page.evaluate(() => window.client.current?.isLoggedIn)).toBe(true)
  })

  it('passes other refusals on and asks anew the next time', async () => {
    const page = await open()
    bed.server.script(ROUTE, () => ((issued += 1), json(403, { error_code: 'insufficient_scope' })))
    for (const count of [1, 2]) {
      expect(await failureOf(page, () => window.capabilities.capability('uploads'))).toMatchObject({
        code: 'insufficient_scope',
        status: 403,
      })
      expect(issued).toBe(count)
    }
  })

  it.each(['javascript:alert(1)', 'http://storage.example/x', 'https://user:secret@storage.example/x', 7])(
    'with the URL %s is refused',
    async (url) => {
      const page = await open()
      issue(() => ({ url }))
      expect(await failureOf(page, () => window.capabilities.capability('uploads'))).toMatchObject({
        code: 'unsafe_url',
      })
    },
  )
})

describe('upload', () => {
  const sendFile = (): Promise<unknown> =>
    window.capabilities.upload('uploads', new File(['x'.repeat(200_000)], 'a b.txt', { type: 'text/plain' }), {
      onProgress: (progress) => window.progress.push(progress),
    })
  const upload = (page: Page): Promise<unknown> => page.evaluate(sendFile)
  const target = (): Record<string, unknown> => ({
    url: storageUrl('/bucket/key'),
    method: 'PUT',
    headers: { 'Content-Type': 'text/plain', 'content-length': '200000', Host: 'storage' },
  })

  it('says what the file is, then puts it straight into the storage, with progress and without cookies', async () => {
    const page = await open()
    issue(target)
    bed.server.script('PUT /bucket/key', () => ({ status: 200 }))
    expect(await upload(page)).toEqual({ status: 200, etag: null })
    expect(JSON.parse(bed.server.receivedAt(ROUTE)[0]?.body.toString() ?? '')).toEqual({
      file: 'a b.txt',
      content_type: 'text/plain',
      content_length: 200_000,
    })
    const [put] = bed.server.receivedAt('PUT /bucket/key')
    expect(put?.body).toHaveLength(200_000)
    expect(put?.headers).toMatchObject({ 'content-type': 'text/plain', 'content-length': '200000' })
    expect(put?.headers['cookie']).toBeUndefined()
    expect(put?.headers['token-handler-version']).toBeUndefined()
    const progress = await page.evaluate(() => window.progress)
    expect(progress.at(-1)).toEqual({ sentBytes: 200_000, totalBytes: 200_000 })
  })

  it('answers the ETag when the storage lets the page see it', async () => {
    const page = await open()
    issue(target)
    bed.server.script('PUT /bucket/key', () => ({
      status: 200,
      headers: { etag: '"abc"', 'access-control-expose-headers': 'ETag' },
    }))
    expect(await upload(page)).toEqual({ status: 200, etag: '"abc"' })
  })

  it('posts a form with the fields before the file', async () => {
    const page = await open()
    issue(() => ({ url: storageUrl('/bucket'), method: 'POST', fields: { key: 'u/a', 'x-amz-signature': 's' } }))
    bed.server.script('POST /bucket', () => ({ status: 204 }))
    expect(await upload(page)).toMatchObject({ status: 204 })
    const [post] = bed.server.receivedAt('POST /bucket')
    const names = [...(post?.body.toString().matchAll(/ name="([^"]+)"/g) ?? [])].map(([, name]) => name)
    expect(names).toEqual(['key', 'x-amz-signature', 'file'])
  })

  it('says the SHA-256 of the bytes when asked', async () => {
    const page = await open()
    issue(() => ({ ...target(), headers: { 'x-amz-checksum-sha256': 'from the agent' } }))
    bed.server.script('PUT /bucket/key', () => ({ status: 200 }))
    await page.evaluate(() => window.capabilities.upload('uploads', new Blob(['hello']), { checksum: true }))
    expect(JSON.parse(bed.server.receivedAt(ROUTE)[0]?.body.toString() ?? '')).toEqual({
      content_type: 'application/octet-stream',
      content_length: 5,
      checksum_sha256: createHash('sha256').update('hello').digest('base64'),
    })
    const [put] = bed.server.receivedAt('PUT /bucket/key')
    expect(put?.headers['x-amz-checksum-sha256']).toBe('from the agent')
  })

  it('gets a new capability once when the storage says that the first is over', async () => {
    const page = await open()
    issue((number) => ({ ...target(), url: storageUrl(`/bucket/key${number}`) }))
    bed.server.script('PUT /bucket/key1', () => xml(403, 'AccessDenied', 'Request has expired'))
    bed.server.script('PUT /bucket/key2', () => ({ status: 200 }))
    expect(await upload(page)).toMatchObject({ status: 200 })
    expect(issued).toBe(2)
  })

  it('gets a new capability once when a kept one is refused, whatever the storage says', async () => {
    const page = await open()
    issue((number) => ({ ...target(), url: storageUrl(`/bucket/key${number}`) }))
    let refuse = false
    bed.server.script('PUT /bucket/key1', () => (refuse ? xml(403, 'AccessDenied') : { status: 200 }))
    bed.server.script('PUT /bucket/key2', () => ({ status: 200 }))
    await upload(page)
    refuse = true
    expect(await upload(page)).toMatchObject({ status: 200 })
    expect(issued).toBe(2)
  })

  it('does not try a third time', async () => {
    const page = await open()
    issue(target)
    bed.server.script('PUT /bucket/key', () => xml(403, 'ExpiredToken'))
    expect(await failureOf(page, sendFile)).toMatchObject({
      name: 'StorageError',
      code: 'storage_refused',
      status: 403,
      storageCode: 'ExpiredToken',
      isExpired: true,
    })
    expect(issued).toBe(2)
  })

  it.each<[number, string, string]>([
    [403, 'SignatureDoesNotMatch', 'storage_refused'],
    [400, 'EntityTooLarge', 'storage_refused'],
    [503, 'SlowDown', 'storage_busy'],
  ])('tells %i %s from others, and asks for no new capability', async (status, storageCode, code) => {
    const page = await open()
    issue(target)
    bed.server.script('PUT /bucket/key', () => xml(status, storageCode))
    expect(await failureOf(page, sendFile)).toMatchObject({ code, status, storageCode, isExpired: false })
    expect(issued).toBe(1)
  })

  it('tells when the storage does not answer to this page', async () => {
    const page = await open()
    issue(target)
    bed.server.corsOrigins.length = 0
    expect(await failureOf(page, sendFile)).toMatchObject({ name: 'StorageError', code: 'storage_unreachable' })
  })

  it('can be aborted while it waits for the agent, and while it sends', async () => {
    const page = await open()
    issue(target)
    const start = (): Promise<unknown> =>
      page.evaluate(async () => {
        window.aborting = new AbortController()
        const { signal } = window.aborting
        return window.capabilities
          .upload('uploads', new Blob(['x']), { signal })
          .catch((error: unknown) => String(error))
      })
    for (const route of [ROUTE, 'PUT /bucket/key']) {
      const held = bed.server.hold(route)
      const failure = start()
      await held.arrived(1)
      await page.evaluate(() => window.aborting.abort('enough'))
      expect(await failure).toBe('enough')
      held.release()
    }
  })

  it('is given up when nothing moves', async () => {
    const page = await open()
    issue(target)
    const held = bed.server.hold('PUT /bucket/key')
    const failure = failureOf(page, () => window.capabilities.upload('uploads', new Blob(['x']), { stallMs: 300 }))
    await held.arrived(1)
    expect(await failure).toMatchObject({ name: 'StorageError', code: 'storage_stalled' })
    held.release()
  })
})

describe('download', () => {
  const source = (number: number): Record<string, unknown> => ({
    url: storageUrl(`/bucket/key${number}`),
    method: 'GET',
  })
  const fetchFile = async (): Promise<string> =>
    (await window.capabilities.download('uploads', { file: 'a.txt' })).text()
  const download = (page: Page): Promise<string> => page.evaluate(fetchFile)

  it('fetches straight from the storage, without cookies', async () => {
    const page = await open()
    issue(source)
    bed.server.script('GET /bucket/key1', () => ({ status: 200, body: 'content' }))
    expect(await download(page)).toBe('content')
    const sent = bed.server.receivedAt('GET /bucket/key1')[0] as Received
    expect(sent.headers['cookie']).toBeUndefined()
    expect(sent.headers['referer']).toBeUndefined()
  })

  it('gets a new capability once when the storage says that the first is over', async () => {
    const page = await open()
    issue(source)
    bed.server.script('GET /bucket/key1', () => xml(403, 'AccessDenied', 'Request has expired'))
    bed.server.script('GET /bucket/key2', () => ({ status: 200, body: 'content' }))
    expect(await download(page)).toBe('content')
  })

  it('throws what the storage says otherwise', async () => {
    const page = await open()
    issue(source)
    bed.server.script('GET /bucket/key1', () => xml(404, 'NoSuchKey'))
    expect(await failureOf(page, fetchFile)).toMatchObject({
      name: 'StorageError',
      code: 'storage_refused',
      status: 404,
      storageCode: 'NoSuchKey',
    })
  })

  it('can be aborted', async () => {
    const page = await open()
    issue(source)
    const held = bed.server.hold('GET /bucket/key1')
    const failure = page.evaluate(() =>
      window.capabilities
        .download('uploads', {}, { signal: window.aborting.signal })
        .catch((error: unknown) => String(error)),
    )
    await held.arrived(1)
    await page.evaluate(() => window.aborting.abort('enough'))
    expect(await failure).toBe('enough')
    held.release()
  })
})
