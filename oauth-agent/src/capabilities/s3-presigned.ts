import type { S3Client } from '@aws-sdk/client-s3'
import type { Clock } from '@token-handler/shared'
import { bounded, lifeOf } from './aws.ts'
import { malformed, readInput } from './input.ts'
import type { Issue } from './issue.ts'
import type { PresignedOptions } from './options.ts'
import { fillTemplate, placeholdersOf } from './template.ts'

interface Upload {
  readonly contentType: string
  readonly contentLength: number
  /** SHA-256 in Base64. */
  readonly checksum: string | undefined
}

/** Signs a request for one object. The SDK is loaded at the first use, and takes its credentials from where it always does. */
export function createPresigned(options: PresignedOptions, clock: Clock): Issue {
  const { operation, bucket, key: template, timeoutSeconds } = options
  const inputs = placeholdersOf(template).filter((name) => options.inputs.includes(name))
  const ofUploads = ['content_type', 'content_length', ...(options.checksumRequired ? ['checksum_sha256'] : [])]
  let loading: Promise<Signing> | undefined

  return async ({ req, holder, ttlSeconds }) => {
    const isUpload = operation !== 'GET'
    const input = readInput(req, [...inputs, ...(isUpload ? ofUploads : [])], isUpload ? ['checksum_sha256'] : [])
    const key = fillTemplate(template, new Map([...input].filter(([name]) => inputs.includes(name))), holder.claimOf)
    const upload = isUpload ? readUpload(input, options) : undefined
    return bounded(timeoutSeconds, async () => {
      loading ??= load(options)
      const signing = await loading
      const expiresIn = lifeOf(await signing.client.config.credentials(), ttlSeconds, clock.now())
      const request = { bucket, key, expiresIn, now: new Date(clock.now()) }
      if (upload === undefined) return { ...(await signing.get(request)), expires_in: expiresIn }
      const signed = operation === 'PUT' ? await signing.put(request, upload) : await signing.post(request, upload)
      return { ...signed, expires_in: expiresIn }
    })
  }
}

function readUpload(input: ReadonlyMap<string, string>, { contentTypes, maxBytes = 0 }: PresignedOptions): Upload {
  const contentType = input.get('content_type') ?? ''
  const length = input.get('content_length') ?? ''
  const checksum = input.get('checksum_sha256')
  // Whoever reads the object later is told this type: it must be what was compared with the list, letter for letter.
  const isListed = contentTypes.some((listed) =>
    listed.endsWith('/*') ? contentType.startsWith(listed.slice(0, -1)) : contentType === listed,
  )
  if (!/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(contentType) || !isListed) {
    throw malformed(`content_type must be one of ${contentTypes.join(', ')}.`)
  }
  if (!/^(?:0|[1-9]\d{0,12})$/.test(length) || Number(length) > maxBytes) {
    throw malformed(`content_length must be a number up to ${maxBytes}.`)
  }
  if (checksum !== undefined && !/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(checksum)) {
    throw malformed('checksum_sha256 must be 32 bytes in Base64.')
  }
  return { contentType, contentLength: Number(length), checksum }
}

interface ToSign {
  readonly bucket: string
  readonly key: string
  readonly expiresIn: number
  readonly now: Date
}

type Signed = Readonly<Record<'method' | 'url', string>> & {
  readonly headers: Readonly<Record<string, string>>
  readonly fields?: Readonly<Record<string, string>>
}

interface Signing {
  readonly client: S3Client
  get(request: ToSign): Promise<Signed>
  put(request: ToSign, upload: Upload): Promise<Signed>
  post(request: ToSign, upload: Upload): Promise<Signed>
}

const checksumHeader = 'x-amz-checksum-sha256'

async function load({ endpoint, region, forcePathStyle }: PresignedOptions): Promise<Signing> {
  const [{ S3Client: Client, GetObjectCommand, PutObjectCommand }, { getSignedUrl }, { createPresignedPost }] =
    await Promise.all([
      import('@aws-sdk/client-s3'),
      import('@aws-sdk/s3-request-presigner'),
      import('@aws-sdk/s3-presigned-post'),
    ])
  const client = new Client({
    region,
    forcePathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    // Else checksums of an empty body enter the URL.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  return {
    client,
    async get({ bucket, key, expiresIn, now }) {
      const command = new GetObjectCommand({ Bucket: bucket, Key: key })
      const url = await getSignedUrl(client, command, { expiresIn, signingDate: now })
      return { method: 'GET', url, headers: {} }
    },
    async put({ bucket, key, expiresIn, now }, { contentType, contentLength, checksum }) {
      const command = new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        ContentType: contentType,
        ContentLength: contentLength,
        ...(checksum === undefined ? {} : { ChecksumSHA256: checksum }),
      })
      const url = await getSignedUrl(client, command, {
        expiresIn,
        signingDate: now,
        // What makes them conditions: left out of the signature, the storage would take any.
        signableHeaders: new Set(['content-type', 'content-length', checksumHeader]),
        unhoistableHeaders: new Set([checksumHeader]),
      })
      const headers = {
        'content-type': contentType,
        'content-length': String(contentLength),
        ...(checksum === undefined ? {} : { [checksumHeader]: checksum }),
      }
      return { method: 'PUT', url, headers }
    },
    async post({ bucket, key, expiresIn }, { contentType, contentLength, checksum }) {
      const { url, fields } = await createPresignedPost(client, {
        Bucket: bucket,
        Key: key,
        Expires: expiresIn,
        Fields: {
          'Content-Type': contentType,
          ...(checksum === undefined ? {} : { [checksumHeader]: checksum }),
        },
        Conditions: [['content-length-range', contentLength, contentLength]],
      })
      return { method: 'POST', url, headers: {}, fields }
    },
  }
}
