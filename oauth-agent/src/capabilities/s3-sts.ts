import { createHash } from 'node:crypto'
import type { STSClient } from '@aws-sdk/client-sts'
import { TokenHandlerError, type Clock } from '@token-handler/shared'
import { bounded, lifeOf } from './aws.ts'
import { readInput } from './input.ts'
import type { Issue } from './issue.ts'
import type { StsOptions } from './options.ts'
import { fillTemplate } from './template.ts'

/** Shortest life that STS gives; the session policy ends it earlier. */
const stsSeconds = 900

/** Assumes the role with a session policy that leaves of it one prefix, for a while, if so configured from one address. */
export function createSts(options: StsOptions, clock: Clock): Issue {
  const { bucket, endpoint, region, roleArn, prefix: template, actions, timeoutSeconds } = options
  let loading: Promise<(input: AssumeRole, signal: AbortSignal) => Promise<Assumed>> | undefined

  return async ({ req, holder, ttlSeconds }) => {
    readInput(req, [])
    const prefix = fillTemplate(template, new Map(), holder.claimOf)
    const endsAt = new Date(clock.now() + ttlSeconds * 1000)
    const sourceIp = options.sourceIp ? holder.address : undefined
    const { sub } = holder.session
    const assumed = await bounded(timeoutSeconds, async (signal) => {
      loading ??= load(options)
      const assume = await loading
      return assume(
        {
          RoleArn: roleArn,
          // Stands in the storage's own log; who it is can be told from ours.
          RoleSessionName: `th-${createHash('sha256').update(sub).digest('hex').slice(0, 32)}`,
          DurationSeconds: stsSeconds,
          Policy: JSON.stringify(sessionPolicy({ bucket, prefix, actions, endsAt, sourceIp })),
        },
        signal,
      )
    })
    const { AccessKeyId: id, SecretAccessKey: secret, SessionToken: token, Expiration: expiration } = assumed
    if (id === undefined || secret === undefined || token === undefined || expiration === undefined) {
      throw new TokenHandlerError('capability_unavailable', { cause: new Error('STS answered no credentials') })
    }
    return {
      token: {
        access_key_id: id,
        secret_access_key: secret,
        session_token: token,
        bucket,
        prefix,
        region,
        ...(endpoint === undefined ? {} : { endpoint }),
      },
      expires_in: lifeOf({ expiration }, ttlSeconds, clock.now()),
    }
  }
}

interface AssumeRole {
  readonly RoleArn: string
  readonly RoleSessionName: string
  readonly DurationSeconds: number
  readonly Policy: string
}

interface Assumed {
  readonly AccessKeyId?: string | undefined
  readonly SecretAccessKey?: string | undefined
  readonly SessionToken?: string | undefined
  readonly Expiration?: Date | undefined
}

async function load({
  region,
  stsEndpoint,
  timeoutSeconds,
}: StsOptions): Promise<(input: AssumeRole, signal: AbortSignal) => Promise<Assumed>> {
  const { STSClient: Client, AssumeRoleCommand } = await import('@aws-sdk/client-sts')
  const client: STSClient = new Client({
    region,
    ...(stsEndpoint === undefined ? {} : { endpoint: stsEndpoint }),
    maxAttempts: 2,
    requestHandler: { connectionTimeout: timeoutSeconds * 1000, requestTimeout: timeoutSeconds * 1000 },
  })
  return async (input, abortSignal) =>
    (await client.send(new AssumeRoleCommand(input), { abortSignal })).Credentials ?? {}
}

/**
 * Session policy: built as data, with what is a wildcard or a variable to IAM taken literally. Storages that do not know
 * a condition refuse.
 */
export function sessionPolicy({
  bucket,
  prefix,
  actions,
  endsAt,
  sourceIp,
}: {
  readonly bucket: string
  readonly prefix: string
  readonly actions: readonly string[]
  readonly endsAt: Date
  readonly sourceIp: string | undefined
}): object {
  const literal = prefix.replace(/[*?$]/g, '${$&}')
  const condition = {
    DateLessThan: { 'aws:CurrentTime': endsAt.toISOString() },
    ...(sourceIp === undefined ? {} : { IpAddress: { 'aws:SourceIp': sourceIp } }),
  }
  const ofObjects = actions.filter((action) => action !== 'ListBucket').map((action) => `s3:${action}`)
  const objects = {
    Effect: 'Allow',
    Action: ofObjects,
    Resource: [`arn:aws:s3:::${bucket}/${literal}*`],
    Condition: condition,
  }
  const list = {
    Effect: 'Allow',
    Action: ['s3:ListBucket'],
    Resource: [`arn:aws:s3:::${bucket}`],
    Condition: { ...condition, StringLike: { 's3:prefix': [`${literal}*`] } },
  }
  return {
    Version: '2012-10-17',
    Statement: [...(ofObjects.length > 0 ? [objects] : []), ...(actions.includes('ListBucket') ? [list] : [])],
  }
}
