import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A running storage that speaks S3. */
export interface Storage {
  /** Such as `http://127.0.0.1:3300`; buckets stand in the path. */
  readonly url: string
  readonly bucket: string
  close(): Promise<void>
}

export interface StorageOptions {
  readonly port: number
  /** Where the objects lie. */
  readonly folder: string
  /** The origin whose script may send and fetch objects, if it can show that it may. */
  readonly allowedOrigin: string
}

interface S3Rver {
  readonly httpServer: Server
  run(): Promise<AddressInfo>
  close(): Promise<void>
}

interface Account {
  createKeyPair(accessKeyId: string, secretAccessKey: string): void
  revokeAccessKey(accessKeyId: string): void
}

const bucket = 'files'

/**
 * Starts a storage for development: it checks signatures, but lets anybody read who knows an object's name. Its credentials
 * are made here and go into the environment of this process, where the AWS SDK looks for them, and nowhere else.
 */
export async function startStorage({ port, folder, allowedOrigin }: StorageOptions): Promise<Storage> {
  // It brings no types.
  const name = '@20minutes/s3rver'
  const { default: Server } = (await import(name)) as { default: new (options: object) => S3Rver }
  const accountModule = `${name}/lib/models/account.js`
  const { default: AccountClass } = (await import(accountModule)) as {
    default: (new (id: number, name: string) => Account) & { DUMMY_ACCOUNT: Account }
  }
  // The account that it comes with has a key that everybody knows.
  AccountClass.DUMMY_ACCOUNT.revokeAccessKey('S3RVER')
  const account = new AccountClass(1, 'demo')
  const accessKeyId = `DEMO${randomBytes(8).toString('hex').toUpperCase()}`
  const secretAccessKey = randomBytes(32).toString('base64url')
  account.createKeyPair(accessKeyId, secretAccessKey)

  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const server = new Server({
    address: '127.0.0.1',
    port,
    silent: true,
    directory: folder,
    vhostBuckets: false,
    configureBuckets: [{ name: bucket, configs: [corsRules(allowedOrigin)] }],
  })
  const { port: listening } = await server.run()
  const restore = setEnvironment({
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    // Either would make the SDK look elsewhere.
    AWS_SESSION_TOKEN: undefined,
    AWS_PROFILE: undefined,
  })
  return {
    url: `http://127.0.0.1:${listening}`,
    bucket,
    async close() {
      restore()
      account.revokeAccessKey(accessKeyId)
      server.httpServer.closeAllConnections()
      await server.close()
    },
  }
}

function corsRules(origin: string): string {
  const methods = ['GET', 'PUT', 'POST'].map((method) => `<AllowedMethod>${method}</AllowedMethod>`).join('')
  return (
    `<CORSConfiguration><CORSRule><AllowedOrigin>${origin}</AllowedOrigin>${methods}` +
    '<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds>' +
    '</CORSRule></CORSConfiguration>'
  )
}

/** @returns puts back what was there */
function setEnvironment(values: Readonly<Record<string, string | undefined>>): () => void {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const)
  const set = (name: string, value: string | undefined): void => {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  for (const [name, value] of Object.entries(values)) set(name, value)
  return () => {
    for (const [name, value] of before) set(name, value)
  }
}
