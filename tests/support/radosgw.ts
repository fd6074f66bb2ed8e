import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './free-port.ts'
import type { RunningStorage } from './s3-server.ts'
import { until } from './until.ts'

const run = promisify(execFile)

/** Ceph's object gateway over one monitor and one store in memory, all in one folder and in the foreground. */
export async function startRadosgw(): Promise<RunningStorage> {
  const folder = mkdtempSync(join(tmpdir(), 'radosgw-'))
  const [monitorPort, gatewayPort] = [await freePort(), await freePort()]
  const fsid = randomUUID()
  const conf = join(folder, 'ceph.conf')
  writeFileSync(conf, configuration({ folder, fsid, monitorPort, gatewayPort }))
  for (const name of ['mon', 'osd', 'run']) mkdirSync(join(folder, name))
  const environment = { ...process.env, CEPH_CONF: conf }
  const ceph = async (program: string, ...args: readonly string[]): Promise<string> => {
    const options = { env: environment, timeout: 60_000 }
    return (await run(program, ['-c', conf, ...args], options)).stdout
  }
  const keyring = join(folder, 'keyring')
  const children: ChildProcess[] = []
  const serve = (program: string, ...args: readonly string[]): void => {
    children.unshift(spawn(program, ['-c', conf, ...args, '-f'], { env: environment, stdio: 'ignore' }))
  }
  async function close(): Promise<void> {
    for (const child of children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exited = once(child, 'exit')
      // Nothing of it is kept, and a polite end takes it seconds.
      child.kill('SIGKILL')
      await exited
    }
    rmSync(folder, { recursive: true, force: true })
  }

  try {
    for (const [index, name] of ['mon.', 'client.admin', 'client.rgw'].entries()) {
      const create = index === 0 ? ['--create-keyring'] : []
      const may = ['mon', 'osd', 'mgr'].flatMap((part) => ['--cap', part, 'allow *'])
      await run('ceph-authtool', [...create, keyring, '--gen-key', '-n', name, ...may])
    }
    const map = join(folder, 'monmap')
    await run('monmaptool', ['--create', '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, '--fsid', fsid, map])
    await ceph('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring)
    serve('ceph-mon', '-i', 'a')
    const osd = randomUUID()
    await ceph('ceph', '--connect-timeout', '30', 'osd', 'new', osd)
    await ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd)
    serve('ceph-osd', '-i', '0')
    await ceph('ceph', 'osd', 'crush', 'add', 'osd.0', '1.0', 'host=localhost', 'root=default')
    await until('the store is up', async () => (await ceph('ceph', 'osd', 'stat')).includes('1 up'), {
      timeoutMs: 60_000,
    })
    const [accessKeyId, secretAccessKey] = [randomBytes(10).toString('hex'), randomBytes(20).toString('hex')]
    const keys = ['--access-key', accessKeyId, '--secret', secretAccessKey]
    await ceph('radosgw-admin', 'user', 'create', '--uid=test', '--display-name=test', ...keys)
    serve('radosgw', '-n', 'client.rgw')
    const endpoint = `http://localhost:${gatewayPort}`
    await until('the gateway answers', async () => (await fetch(endpoint).catch(() => undefined))?.status === 200, {
      timeoutMs: 60_000,
    })
    await makeBucket(endpoint, { accessKeyId, secretAccessKey })
    return { endpoint, accessKeyId, secretAccessKey, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function makeBucket(
  endpoint: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
): Promise<void> {
  const { CreateBucketCommand, PutBucketCorsCommand, S3Client } = await import('@aws-sdk/client-s3')
  const client = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: 'files' }))
  const rule = {
    AllowedOrigins: ['http://localhost:3000'],
    AllowedMethods: ['GET', 'PUT', 'POST'],
    AllowedHeaders: ['content-type', 'x-amz-checksum-sha256'],
    ExposeHeaders: ['ETag'],
  }
  await client.send(new PutBucketCorsCommand({ Bucket: 'files', CORSConfiguration: { CORSRules: [rule] } }))
  client.destroy()
}

function configuration(settings: {
  readonly folder: string
  readonly fsid: string
  readonly monitorPort: number
  readonly gatewayPort: number
}): string {
  const { folder, fsid, monitorPort, gatewayPort } = settings
  return `[global]
fsid = ${fsid}
mon host = [v2:127.0.0.1:${monitorPort}]
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
osd objectstore = memstore
memstore device bytes = 1073741824
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = ${folder}/run
admin socket = ${folder}/run/$name.asok
pid file = ${folder}/run/$name.pid
log file = ${folder}/run/$name.log
keyring = ${folder}/keyring
mon data = ${folder}/mon
osd data = ${folder}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort}
rgw dns name = localhost
`
}
