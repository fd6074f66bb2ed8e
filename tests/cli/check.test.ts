import { chmodSync, globSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { stringify } from 'yaml'
import { makeCertificates } from '../support/certificates.ts'
import { Canaries } from '../support/canary.ts'
import { configured } from '../shared/configuration.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'

const root = join(import.meta.dirname, '../..')
const read = (name: string): string => readFileSync(join(root, name), 'utf8')

let folder: WorkingFolder
beforeEach(() => {
  folder = workingFolder()
})
afterEach(() => folder.remove())

describe('token-handler', () => {
  it('says how it is used, asked or not', async () => {
    for (const args of [[], ['help'], ['--help'], ['check', '-h']]) {
      const { code, stdout, stderr } = await folder.run(args)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain('token-handler keys generate')
    }
  })

  it('says its version', async () => {
    const { version } = JSON.parse(read('cli/package.json')) as { version: string }
    expect(await folder.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('names every option in its usage, and the documentation does, too', async () => {
    const names = [...read('cli/src/main.ts').matchAll(/^  '?([a-z-]+)'?: \{ type: /gm)].map(([, name]) => `--${name}`)
    expect(names.length).toBeGreaterThan(20)
    const { stdout } = await folder.run(['--help'])
    const pages = globSync('docs/*.md', { cwd: root }).map(read).join('')
    const common = ['--help', '--version']
    expect(names.filter((name) => !stdout.includes(name) && name !== '--help')).toEqual([])
    expect(names.filter((name) => !pages.includes(name) && !common.includes(name))).toEqual([])
  })

  it.each([
    [['frobnicate'], 'there is no command "frobnicate"'],
    [['constructor'], 'there is no command "constructor"'],
    [['check', '--only', 'both'], '--only takes agent or proxy'],
    [['check', '--colour'], "Unknown option '--colour'"],
    [['check', '--config'], "Option '--config <value>' argument missing"],
    [['keys'], 'keys takes generate, list, export, add, activate or retire'],
    [['keys', 'delete'], 'keys takes generate, list, export, add, activate or retire'],
    [['check', 'agent'], 'check takes no "agent"'],
    [['start', 'proxy'], 'start takes no "proxy"'],
    [['schema', 'agent'], 'schema takes no "agent"'],
    [['keys', 'generate', 'keys.json'], 'keys generate takes no "keys.json"'],
    [['keys', 'list', 'keys.json'], 'keys list takes no "keys.json"'],
    [['keys', 'export'], 'keys export needs --purpose access-token or --purpose audit'],
    [['keys', 'export', '--purpose', 'refresh-token'], 'keys export needs --purpose access-token or --purpose audit'],
  ])('does not understand %j, and says why', async (args, why) => {
    const { code, stdout, stderr } = await folder.run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(`token-handler: ${why}`)
    const [command = ''] = args
    const isKnown = ['keys', 'check', 'start', 'schema'].includes(command)
    expect(stderr).toContain(isKnown ? `\n  token-handler ${command} ` : '\n  token-handler start ')
    expect(stderr.split('\n').length < 25).toBe(isKnown)
  })

  it('prints the JSON Schema of the configuration', async () => {
    const { code, stdout } = await folder.run(['schema'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ type: 'object', additionalProperties: false })
  })
})

describe('token-handler check', () => {
  it('says so when everything is right', async () => {
    folder.configure({})
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    expect(await folder.run(['check'])).toEqual({ code: 0, stdout: 'token-handler.yaml is right\n', stderr: '' })
    folder.write('other.yaml', folder.read('token-handler.yaml'))
    expect(await folder.run(['check', '--config', 'other.yaml'])).toMatchObject({ code: 0 })
  })

  it('[D-OPS-02] tells all mistakes at once, by path, and shows no value', async () => {
    const canaries = new Canaries()
    const secret = canaries.mark('client-secret')
    folder.configure({
      public_url: `https://app.example/${canaries.mark('path')}`,
      authorization_server: {
        issuer: `http://${canaries.mark('host')}.example`,
        client_authentication: { client_secret: '${CLIENT_SECRET}' },
        redirect_uri: '${NOT_SET}',
      },
      cookies: { access_token_path: `${canaries.mark('cookie-path')}/` },
      session: { idle_seconds: canaries.mark('seconds') },
      proxy: { routes: [{ path: '/api', upstream: `https://user:${canaries.mark('password')}@orders.example` }] },
      [canaries.mark('name')]: canaries.mark('value'),
    })
    const { code, stdout, stderr } = await folder.run(['check'], { CLIENT_SECRET: secret })
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr.split('\n').map((line) => line.replace(/:.*/, ''))).toEqual([
      'token-handler.yaml has 6 problems',
      '  authorization_server.redirect_uri',
      '  public_url',
      '  cookies.access_token_path',
      '  session.idle_seconds',
      '  proxy.routes[0].upstream',
      '  (file)',
      '',
    ])
    expect(canaries.find(stderr)).toEqual([])
  })

  it('tells of every file that is not right, and of contradictions', async () => {
    folder.configure({
      listen: { tls: { certificate_file: 'certificate.pem', private_key_file: 'key.pem' } },
      spa: { root: './dist' },
    })
    folder.write('keys.json', '{"keys":[{"kid":"a","state":"active","key":"c2hvcnQ"}]}')
    const { code, stderr } = await folder.run(['check'])
    expect(code).toBe(2)
    expect(stderr).toContain('keys[0].key: must be 32 random bytes as base64url')
    expect(stderr).toContain('listen.tls.certificate_file: cannot be used (ENOENT)')
    expect(stderr).toContain('spa.root: index.html in it cannot be read (ENOENT)')
    expect(stderr).toContain('spa.root: callback.html in it cannot be read (ENOENT)')
    expect(stderr).not.toContain('c2hvcnQ')

    folder.configure({ admin: { port: 3000 }, authorization_server: { issuer: 'http://as.example' } })
    const contradictions = await folder.run(['check'])
    expect(contradictions.stderr).toContain('authorization_server.issuer: must be https')
    expect(contradictions.stderr).toContain('admin.port: must differ from listen.port')
  })

  it('[E-KM-08] warns of keys and secrets that every user of the machine can read or change', async () => {
    const files = { 'keys.json': 0o640, 'secret.txt': 0o640, 'token-handler.yaml': 0o644, 'key.pem': 0o644 }
    const { server } = await makeCertificates(['app.example'])
    folder.write('certificate.pem', server.certificate)
    folder.write('key.pem', server.privateKey)
    folder.write('secret.txt', 's3cret')
    folder.configure({
      authorization_server: { client_authentication: { client_secret: 'file:secret.txt' } },
      listen: { tls: { certificate_file: 'certificate.pem', private_key_file: 'key.pem' } },
    })
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    const permit = (name: string, mode: number): void => chmodSync(join(folder.path, name), mode)
    for (const [name, mode] of Object.entries(files)) permit(name, mode)
    // What nobody gets at, for the folder is its owner's, is nobody's.
    expect(await folder.run(['check'])).toEqual({ code: 0, stdout: 'token-handler.yaml is right\n', stderr: '' })
    permit('.', 0o755)
    const tls = 'warning: listen.tls.private_key_file: every user of this machine can read its file (mode 644)\n'
    expect(await folder.run(['check'])).toEqual({ code: 0, stdout: 'token-handler.yaml is right\n', stderr: tls })

    permit('keys.json', 0o666)
    permit('secret.txt', 0o444)
    folder.configure({ admin: { port: 3001, keys: { carol: 'x'.repeat(32) } } })
    const client = 'authorization_server.client_authentication.client_secret'
    const others = [
      'warning: keys.file: every user of this machine can change its file (mode 666)',
      `warning: ${client}: every user of this machine can read its file (mode 644)`,
      'warning: admin.keys.carol: every user of this machine can read its file (mode 644)',
    ]
    expect(await folder.run(['check'])).toMatchObject({ code: 0, stderr: `${others.join('\n')}\n` })
    folder.configure({
      authorization_server: { client_authentication: { client_secret: 'file:secret.txt' } },
      admin: { port: 3001, keys: { carol: '${ADMIN_KEY}' } },
    })
    expect(await folder.run(['check'], { ADMIN_KEY: 'x'.repeat(32) })).toMatchObject({
      code: 0,
      stderr: `${others[0]}\n${others[1]?.replace('644', '444')}\n`,
    })
  })

  it('says where a file is no YAML, or not there', async () => {
    expect(await folder.run(['check'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'token-handler.yaml has 1 problem:\n  (file): cannot be read (ENOENT)\n',
    })
    folder.write('token-handler.yaml', 'a: [1\nb: 2')
    expect(await folder.run(['check'])).toMatchObject({ code: 2 })
    folder.write('token-handler.yaml', `${stringify(configured({}))}a: &a 1\nb: *a\n`)
    const { code, stderr } = await folder.run(['check'])
    expect([code, stderr.includes('aliases are not understood'), stderr.includes('    at ')]).toEqual([2, true, false])
  })

  it('[E-KM-07] asks less of a proxy that runs alone', async () => {
    folder.configure({ keys: { file: 'all.json' } })
    await folder.run(['keys', 'generate', '--out', 'all.json'])
    await folder.run(['keys', 'export', '--purpose', 'access-token', '--out', 'proxy.json'])
    folder.configure({ keys: { file: 'proxy.json' }, authorization_server: { client_authentication: undefined } })
    expect(await folder.run(['check', '--only', 'proxy'])).toMatchObject({ code: 0 })
    const { stderr } = await folder.run(['check', '--only', 'agent'])
    expect(stderr).toContain('authorization_server.client_authentication: is required where the agent runs')
    folder.configure({ keys: { file: 'proxy.json' } })
    expect((await folder.run(['check'])).stderr).toContain(
      'keys[0].derived: lacks refresh-token, id-token, login, logout, which is needed here',
    )
  })
  it('names in one go what is wrong in the file, what contradicts itself and which files are not there', async () => {
    folder.configure({
      authorization_server: {
        redirect_uri: 'https://elsewhere.example/callback',
        client_authentication: { client_secret: '${CLIENT_SECRET}' },
      },
      admin: { port: 3000 },
      spa: { root: './dist' },
      keys: { file: 'nowhere.json' },
    })
    const { code, stderr } = await folder.run(['check'])
    expect(code).toBe(2)
    for (const problem of [
      'client_secret: the environment variable CLIENT_SECRET is not set',
      'authorization_server.redirect_uri: ',
      'admin.port: must differ from listen.port',
      'nowhere.json has 1 problem:',
      'spa.root: index.html in it cannot be read (ENOENT)',
    ]) {
      expect(stderr).toContain(problem)
    }
  })

  it('takes numbers and switches from the environment', async () => {
    folder.configure({ admin: { port: '${ADMIN_PORT}' }, cookies: { persistent: '${PERSISTENT}' } })
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    expect(await folder.run(['check'], { ADMIN_PORT: '3001', PERSISTENT: 'false' })).toMatchObject({ code: 0 })
    const wrong = await folder.run(['check'], { ADMIN_PORT: '3001 ', PERSISTENT: 'no' })
    expect(wrong.stderr).toContain('admin.port: expected number')
    expect(wrong.stderr).toContain('cookies.persistent: expected boolean')
  })

  it('[E-KM-07] asks a proxy that runs alone for no secret of the agent', async () => {
    folder.configure({ authorization_server: { client_authentication: { client_secret: '${CLIENT_SECRET}' } } })
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    expect(await folder.run(['check', '--only', 'proxy'])).toMatchObject({ code: 0, stderr: '' })
    expect((await folder.run(['check'])).stderr).toContain('the environment variable CLIENT_SECRET is not set')
  })
  it.each([
    ['file', 'sqlite', { file: './nowhere/sessions.db' }],
    ['ca_file', 'redis', { url: 'rediss://127.0.0.1:9', ca_file: 'nowhere.pem' }],
  ])('tells of ledger.%s that cannot be used, as a start does', async (key, type, ledger) => {
    folder.configure({ ledger: { type, ...ledger } })
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    for (const command of ['check', 'start']) {
      expect(await folder.run([command])).toEqual({
        code: 2,
        stdout: '',
        stderr: `token-handler.yaml has 1 problem:\n  ledger.${key}: cannot be used (ENOENT)\n`,
      })
    }
  })
  it('tells of audit.folder that is no folder, or cannot be made, as a start does', async () => {
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    for (const path of ['./keys.json', './keys.json/audit/files']) {
      folder.configure({ audit: { sink: 'files', folder: path } })
      expect(await folder.run([path.endsWith('files') ? 'check' : 'start'])).toEqual({
        code: 2,
        stdout: '',
        stderr: 'token-handler.yaml has 1 problem:\n  audit.folder: cannot be used (ENOTDIR)\n',
      })
    }
    // Folders that are not there yet are made.
    folder.configure({ audit: { sink: 'files', folder: './new/audit' } })
    expect(await folder.run(['check'])).toMatchObject({ code: 0 })
  })

  it('tells of a callback page whose script is not there, or that would run none', async () => {
    await folder.run(['keys', 'generate', '--out', 'keys.json'])
    folder.configure({ spa: { root: './dist' } })
    mkdirSync(join(folder.path, 'dist'))
    folder.write('dist/index.html', '<!doctype html>')
    const pageWith = (script: string): void =>
      folder.write('dist/callback.html', `<!doctype html><script type="module" src="${script}"></script>`)
    for (const [script, problem] of [
      ['/callback.js', '/callback.js, which callback.html runs, cannot be read (ENOENT)'],
      ['./callback.js', 'callback.html in it names no script by a path that begins with / and ends with .js'],
    ] as const) {
      pageWith(script)
      const { code, stderr } = await folder.run(['check'])
      expect([code, stderr]).toEqual([2, `token-handler.yaml has 1 problem:\n  spa.root: ${problem}\n`])
    }
    pageWith('/callback.js')
    folder.write('dist/callback.js', '')
    expect(await folder.run(['check'])).toMatchObject({ code: 0 })
  })
})
