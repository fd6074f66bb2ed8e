import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createMemoryLedger, systemClock } from '@token-handler/shared'
import { adminKeys, request, startAdmin, type AdminAnswer, type AdminUnderTest } from '../cli/admin-under-test.ts'
import { danglingReferences, problemsOfAnswer, readDocument } from './openapi-document.ts'

const document = readDocument('openapi-admin.yaml')

let admin: AdminUnderTest
let broken: AdminUnderTest
let unreadable: AdminUnderTest
beforeAll(async () => {
  admin = await startAdmin()
  const inner = createMemoryLedger(systemClock)
  const unknown = async () => ({ state: 'unknown' }) as const
  const directory = { ...inner.directory, ofSubject: unknown, replicas: unknown }
  broken = await startAdmin({ ledger: { ...inner, addRule: unknown, directory } })
  const count = async () => ({ state: 'counted', sessions: 1, unreadable: 1 }) as const
  const find = async () => ({ state: 'found', session: undefined, unreadable: 1 }) as const
  unreadable = await startAdmin({ ledger: { ...inner, directory: { ...inner.directory, count, find } } })
})
afterAll(async () => {
  await admin.close()
  await broken.close()
  await unreadable.close()
})

/** Fails unless the answer is one that the document has. */
function check(path: string, method: string, answer: AdminAnswer): AdminAnswer {
  const response = document.paths[path]?.[method]?.responses[answer.status]
  expect([path, method, answer.status, problemsOfAnswer(response, answer)]).toEqual([path, method, answer.status, []])
  return answer
}

describe('docs/openapi-admin.yaml', () => {
  it('has references that lead somewhere, and every path of the API', async () => {
    expect(danglingReferences('openapi-admin.yaml')).toEqual([])
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const method of Object.keys(operations)) {
        const answer = await admin.call(method.toUpperCase(), path, method === 'post' ? {} : undefined)
        expect([path, [200, 400].includes(answer.status)]).toEqual([path, true])
        const other = await admin.call(method === 'post' ? 'GET' : 'POST', path)
        expect([other.status, problemsOfAnswer(document.components.responses['MethodNotAllowed'], other)]).toEqual([
          405,
          [],
        ])
      }
    }
  })

  it('is what the API answers', async () => {
    const session = await admin.session({ asSessionHash: 'hash', kid: admin.kid })
    const authorization = `Bearer ${adminKeys['on-call']}`
    const post = (path: string, body: unknown) => admin.call('POST', path, body)
    const answers: [string, string, AdminAnswer][] = [
      ['/admin/sessions', 'post', await post('/admin/sessions', { sub: 'user-1' })],
      ['/admin/sessions', 'post', await post('/admin/sessions', {})],
      ['/admin/sessions', 'post', await admin.call('POST', '/admin/sessions', {}, {})],
      ['/admin/revoke', 'post', await post('/admin/revoke', { sid: session.sid, dry_run: true })],
      ['/admin/revoke', 'post', await post('/admin/revoke', { sid: session.sid })],
      ['/admin/revoke', 'post', await post('/admin/revoke', { kid: admin.kid })],
      ['/admin/revoke', 'post', await post('/admin/revoke', { all: true })],
      ['/admin/revoke', 'post', await post('/admin/revoke', '{')],
      ['/admin/revoke', 'post', await post('/admin/revoke', { sub: 'x'.repeat(20_000) })],
      [
        '/admin/revoke',
        'post',
        await admin.call('POST', '/admin/revoke', 'x', { authorization, 'content-type': 'text/plain' }),
      ],
      ['/admin/revoke', 'post', await admin.call('POST', '/admin/revoke', {}, { authorization, origin: 'null' })],
      ['/admin/revoke', 'post', await broken.call('POST', '/admin/revoke', { all: true })],
      ['/admin/revoke', 'post', await unreadable.call('POST', '/admin/revoke', { sub: 'user-1' })],
      ['/admin/sessions', 'post', await unreadable.call('POST', '/admin/sessions', { sid: session.sid })],
      ['/admin/rules', 'get', await admin.call('GET', '/admin/rules')],
      ['/admin/replicas', 'get', await admin.call('GET', '/admin/replicas')],
      ['/admin/replicas', 'get', await broken.call('GET', '/admin/replicas')],
      ['/admin/keys', 'get', await admin.call('GET', '/admin/keys')],
    ]
    expect(answers.map(([path, method, answer]) => check(path, method, answer).status)).toEqual([
      200, 400, 401, 200, 200, 200, 200, 400, 413, 415, 403, 503, 200, 200, 200, 200, 503, 200,
    ])
    const unknown = await request(`${admin.adminUrl}/admin/unknown`, 'GET', undefined, { authorization })
    expect(problemsOfAnswer(document.components.responses['NotFound'], unknown)).toEqual([])
  })

  it('control: an answer that does not follow it is found', async () => {
    const good = await admin.call('GET', '/admin/replicas')
    const responses = document.paths['/admin/replicas']?.['get']?.responses ?? {}
    expect(problemsOfAnswer(responses['200'], good)).toEqual([])
    expect(problemsOfAnswer(responses['200'], { ...good, json: { replicas: [{ token: 'x' }] } })).not.toEqual([])
  })
})
