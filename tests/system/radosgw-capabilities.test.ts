import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { itKeepsStoragePromises } from '../oauth-agent/storage-promises.ts'
import { startRadosgw } from '../support/radosgw.ts'
import type { RunningStorage } from '../support/s3-server.ts'

describe('radosgw, with what the agent signs', () => {
  let storage: RunningStorage
  beforeAll(async () => {
    storage = await startRadosgw()
  }, 180_000)
  afterAll(() => storage?.close())

  itKeepsStoragePromises(async () => ({ ...storage, close: () => Promise.resolve() }), { isStrict: true })

  it('lets the origin of its CORS rules ask, and no other', async () => {
    const ask = async (origin: string): Promise<string | null> => {
      const response = await fetch(`${storage.endpoint}/files/uploads/subject-1/a.txt`, {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'PUT',
          'access-control-request-headers': 'content-type,x-amz-checksum-sha256',
        },
      })
      await response.text()
      return response.headers.get('access-control-allow-origin')
    }
    expect(await ask('http://localhost:3000')).toBe('http://localhost:3000')
    expect(await ask('https://evil.example')).toBeNull()
  })
})
