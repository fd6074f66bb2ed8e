import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { checkConfig, ConfigError } from '@token-handler/shared'
import { smallest } from './configuration.ts'

const put = {
  name: 'upload',
  kind: 's3-presigned',
  operation: 'PUT',
  bucket: 'files',
  key: 'uploads/{sub}/{file}',
  content_types: ['image/*'],
  max_bytes: 1000,
  region: 'us-east-1',
}
const token = { name: 'realtime', kind: 'jwt', audience: 'https://realtime.example.com' }
const privateKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
})

function problems(capabilities: readonly object[], more: object = {}): string[] {
  try {
    checkConfig({ ...smallest, capabilities, ...more })
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ path }) => path)
  }
}

describe('the configuration of capabilities', () => {
  it('is right as documented', () => {
    expect(problems([put, token], { capability_signing: { private_key: privateKey } })).toEqual([])
    expect(checkConfig({ ...smallest, capabilities: [put] }).capabilities[0]?.ttl_seconds).toBe(300)
  })

  it.each<[string, object]>([
    ['ttl_seconds', { ttl_seconds: 901 }],
    ['key', { key: 'uploads/../{file}' }],
    ['key', { key: '{file}' }],
    ['key', { key: '/uploads/{file}' }],
    ['key', { key: 'uploads//{file}' }],
    ['key', { key: 'uploads/${filename}' }],
    ['inputs', { inputs: ['sub'] }],
    ['inputs', { inputs: ['file', 'album'] }],
    ['content_types', { content_types: [] }],
    ['max_bytes', { max_bytes: undefined }],
    ['endpoint', { endpoint: 'http://storage.example.com' }],
    ['roles', { roles: ['unheard-of'] }],
    ['name', { name: '../x' }],
    ['networks[0]', { networks: ['example.com'] }],
  ])('does not start with a wrong %s', (key, change) => {
    expect(problems([{ ...put, ...change }])).toContain(`capabilities[0].${key}`)
  })

  it('has no route that asks for a role which is not defined', () => {
    const routes = [{ path: '/api/x', upstream: 'https://x.example.com', roles: ['editor'] }]
    const roles = [{ name: 'editor', claim: 'groups', values: ['editors'] }]
    expect(problems([], { proxy: { routes }, roles })).toEqual([])
    expect(problems([], { proxy: { routes } })).toEqual(['proxy.routes[0].roles'])
    const open = [{ ...routes[0], session: 'none' }]
    expect(problems([], { proxy: { routes: open }, roles })).toEqual(['proxy.routes[0].session'])
  })

  it('has no second capability of one name, and no jwt without a fitting key', () => {
    expect(problems([put, put])).toEqual(['capabilities[1].name'])
    expect(problems([token])).toEqual(['capabilities[0].kind'])
    const wrong = { private_key: privateKey, algorithm: 'EdDSA', other_keys: ['no key'] }
    expect(problems([token], { capability_signing: wrong })).toEqual([
      'capability_signing.private_key',
      'capability_signing.other_keys[0]',
    ])
  })
})
