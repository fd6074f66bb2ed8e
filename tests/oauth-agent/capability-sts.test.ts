import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { StsOptions } from '@token-handler/oauth-agent'
import { sessionPolicy } from '../../oauth-agent/src/capabilities/s3-sts.ts'
import { stsCapability } from './capability-options.ts'
import type { AgentAnswer, Browser } from './running-agent.ts'
import { startScripted, type Scripted } from './scripted.ts'

process.env['AWS_ACCESS_KEY_ID'] = 'AKIDEXAMPLE'
process.env['AWS_SECRET_ACCESS_KEY'] = 'a-secret-key-of-the-storage'

describe('capabilities of the kind s3-sts', () => {
  let scripted: Scripted
  let answer: (res: ServerResponse) => void
  const calls: { headers: IncomingHttpHeaders; form: URLSearchParams }[] = []
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      calls.push({ headers: req.headers, form: new URLSearchParams(Buffer.concat(chunks).toString()) })
      answer(res)
    })
  })
  beforeAll(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterAll(() => {
    server.close()
    server.closeAllConnections()
  })
  beforeEach(() => {
    calls.length = 0
    answer = (res) => grant(res, '2030-01-01T00:15:00Z')
  })
  afterEach(() => scripted.close())

  function grant(res: ServerResponse, expiration: string): void {
    res.setHeader('content-type', 'text/xml')
    res.end(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
      <AccessKeyId>ASIATEMPORARY</AccessKeyId><SecretAccessKey>temporary-secret</SecretAccessKey>
      <SessionToken>temporary-token</SessionToken><Expiration>${expiration}</Expiration>
      </Credentials></AssumeRoleResult></AssumeRoleResponse>`)
  }

  async function start(change: Partial<StsOptions> = {}): Promise<Browser> {
    const { port } = server.address() as AddressInfo
    const capabilities = [stsCapability({ stsEndpoint: `http://127.0.0.1:${port}`, ...change })]
    scripted = await startScripted({ options: { capabilities } })
    return scripted.loggedIn()
  }
  const code = ({ status, json }: AgentAnswer): unknown[] => [status, json['error_code']]

  it('answers credentials for the prefix of the user, asked for with a signature of version 4', async () => {
    const browser = await start({ sourceIp: true })
    const issued = await browser.post('capabilities/sts')
    expect(issued.json).toEqual({
      kind: 's3-sts',
      token: {
        access_key_id: 'ASIATEMPORARY',
        secret_access_key: 'temporary-secret',
        session_token: 'temporary-token',
        bucket: 'files',
        prefix: 'uploads/subject-1/',
        region: 'us-east-1',
      },
      expires_in: 300,
    })
    const [call] = calls
    expect(call?.headers.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/us-east-1\/sts\/aws4_request, SignedHeaders=[\w;-]*host[\w;-]*, Signature=[0-9a-f]{64}$/,
    )
    const { Policy: policy = '', ...rest } = Object.fromEntries(call?.form ?? [])
    expect(rest).toMatchObject({
      Action: 'AssumeRole',
      RoleArn: 'arn:aws:iam::123456789012:role/files',
      DurationSeconds: '900',
      RoleSessionName: expect.stringMatching(/^th-[0-9a-f]{32}$/),
    })
    const condition = {
      DateLessThan: { 'aws:CurrentTime': '2030-01-01T00:05:00.000Z' },
      IpAddress: { 'aws:SourceIp': '127.0.0.1' },
    }
    expect(JSON.parse(policy)).toEqual({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Action: ['s3:GetObject', 's3:PutObject'],
          Resource: ['arn:aws:s3:::files/uploads/subject-1/*'],
          Condition: condition,
        },
        {
          Effect: 'Allow',
          Action: ['s3:ListBucket'],
          Resource: ['arn:aws:s3:::files'],
          Condition: { ...condition, StringLike: { 's3:prefix': ['uploads/subject-1/*'] } },
        },
      ],
    })
    expect(scripted.agent.log()).not.toMatch(/temporary-|storage/)
  })

  it('lives no longer than the credentials', async () => {
    const browser = await start()
    answer = (res) => grant(res, '2030-01-01T00:01:00Z')
    expect((await browser.post('capabilities/sts')).json['expires_in']).toBe(60)
    answer = (res) => grant(res, '2029-12-31T23:59:59Z')
    expect(code(await browser.post('capabilities/sts'))).toEqual([502, 'capability_unavailable'])
  })

  it('answers 502 when STS refuses, answers rubbish, or is not there', async () => {
    const browser = await start()
    answer = (res) => {
      res.statusCode = 403
      res.setHeader('content-type', 'text/xml')
      res.end('<ErrorResponse><Error><Code>AccessDenied</Code><Message>secret words</Message></Error></ErrorResponse>')
    }
    expect(code(await browser.post('capabilities/sts'))).toEqual([502, 'capability_unavailable'])
    answer = (res) => res.end('rubbish')
    expect(code(await browser.post('capabilities/sts'))).toEqual([502, 'capability_unavailable'])
    answer = (res) => res.destroy()
    expect(code(await browser.post('capabilities/sts'))).toEqual([502, 'capability_unavailable'])
    expect(scripted.agent.log()).not.toContain('secret words')
  })

  it('answers 504 when STS is silent, and lets go of the connection', async () => {
    const browser = await start({ timeoutSeconds: 1 })
    let isReleased: Promise<unknown> = Promise.resolve()
    answer = (res) => {
      isReleased = once(res, 'close')
    }
    expect(code(await browser.post('capabilities/sts'))).toEqual([504, 'capability_timeout'])
    await isReleased
  })
})

describe('the session policy', () => {
  it('takes what is a wildcard or a variable to IAM literally', () => {
    const prefix = 'uploads/a*b?c${aws:username}d/'
    const policy = sessionPolicy({
      bucket: 'files',
      prefix,
      actions: ['GetObject'],
      endsAt: new Date(0),
      sourceIp: undefined,
    })
    expect(policy).toMatchObject({
      Statement: [{ Resource: ['arn:aws:s3:::files/uploads/a${*}b${?}c${$}{aws:username}d/*'] }],
    })
  })
})
