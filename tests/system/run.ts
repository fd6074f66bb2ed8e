/**
 * `npm run test:system`: makes sure that the programs of the operating system are there, then runs the tests that need
 * them. Where it may install (Debian, root), it does; else it says what to type.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Program → Debian package. */
const programs: Readonly<Record<string, string>> = {
  nginx: 'nginx-light',
  'redis-server': 'redis-server',
  radosgw: 'radosgw',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  'ceph-authtool': 'ceph-common',
  monmaptool: 'ceph-base',
}

const searchPath = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
/** What recipes in deploy/ are for; nginx-light has ngx_http_auth_request_module, too. */
const gateways: Readonly<Record<string, string>> = { caddy: 'caddy', haproxy: 'haproxy' }
const isInstalled = (program: string) => searchPath.some((folder) => existsSync(join(folder, program)))

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): number {
  return spawnSync(command, args, { stdio: 'inherit', env }).status ?? 1
}

const missing = Object.entries({ ...programs, ...gateways }).filter(([program]) => !isInstalled(program))
if (missing.length > 0) {
  const packages = missing.map(([, name]) => name)
  const install = ['install', '-y', '--no-install-recommends', ...packages]
  const mayInstall = process.getuid?.() === 0 && isInstalled('apt-get')
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  if (!mayInstall || run('apt-get', ['update', '-q'], env) !== 0 || run('apt-get', install, env) !== 0) {
    console.error(`These tests need ${missing.map(([program]) => program).join(', ')}. Install them, on Debian with:`)
    console.error(`  sudo apt-get update && sudo apt-get ${install.join(' ')}`)
    process.exit(1)
  }
}

process.exitCode = run(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--experimental-vm-modules',
    'node_modules/jest/bin/jest.js',
    '--config=tests/system/jest.config.mjs',
    ...process.argv.slice(2),
  ],
  { ...process.env, PATH: searchPath.join(delimiter) },
)
