import { createServer as createProbe } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@token-handler/shared'
import { build, createServer as createVite } from 'vite'
import { startDemo, type Demo, type DemoOptions } from './demo.ts'

const webFolder = join(import.meta.dirname, 'web')
const isDevelopment = process.argv.includes('--dev')
/** SPA and agent on two hosts of one site, with TLS; Safari keeps Secure cookies nowhere else. */
const isHttps = process.argv.includes('--https')
/** Kept between starts, so that the authority is imported once. Its private key is not there, nor anywhere. */
const certificateFolder = join(tmpdir(), `token-handler-certificates-${process.getuid?.() ?? 0}`)

const portVariables = {
  web: { variable: 'TH_PORT', fallback: 3000, host: '127.0.0.1' },
  authorizationServer: { variable: 'TH_AS_PORT', fallback: 3100, host: '127.0.0.1' },
  api: { variable: 'TH_API_PORT', fallback: 3200, host: '127.0.0.1' },
  admin: { variable: 'TH_ADMIN_PORT', fallback: 3001, host: '127.0.0.1' },
  storage: { variable: 'TH_STORAGE_PORT', fallback: 3300, host: '127.0.0.1' },
  ...(isHttps ? { gateway: { variable: 'TH_GATEWAY_PORT', fallback: 3443, host: '127.0.0.1' } } : {}),
} as const satisfies Record<string, { variable: string; fallback: number; host: string }>

/** What stops the start and what to do about it; shown without a stack. */
class StartProblem extends Error {}

/** A slip such as `--htps` must not start something else than what was meant. */
function refuseOtherOptions(): void {
  const others = process.argv.slice(2).filter((arg) => arg !== '--dev' && arg !== '--https')
  if (others.length === 0) return
  const variables = Object.values(portVariables).map(({ variable }) => variable)
  throw new StartProblem(
    `there is no option ${others.join(' ')}; npm start -- --https runs the demo with TLS, npm run dev with hot reload;\n` +
      `the environment can name ports: ${variables.join(' ')}`,
  )
}

function readPorts(): DemoOptions['ports'] {
  const ports = Object.entries(portVariables).map(([name, { variable, fallback }]) => {
    const text = process.env[variable] ?? String(fallback)
    const port = Number(text)
    if (!/^\d+$/.test(text) || port > 65_535) throw new StartProblem(`${variable} must be a port number`)
    return [name, port]
  })
  return Object.fromEntries(ports) as DemoOptions['ports']
}

/** All taken ports at once, before anything starts. */
async function refuseTakenPorts(ports: DemoOptions['ports']): Promise<void> {
  const taken: string[] = []
  const given = new Map<number, string>()
  for (const [name, { variable, host }] of Object.entries(portVariables)) {
    const port = ports[name as keyof typeof ports] ?? 0
    const other = given.get(port)
    if (!(await isFree(port, host)))
      taken.push(`port ${port} on ${host} is taken; choose another with ${variable}=PORT`)
    else if (other !== undefined) taken.push(`port ${port} is that of ${other}; choose another with ${variable}=PORT`)
    // 0 is any port that is free.
    else if (port !== 0) given.set(port, variable)
  }
  if (taken.length > 0) throw new StartProblem(taken.join('\n'))
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createProbe()
    probe.once('error', () => resolve(false))
    probe.listen(port, host, () => probe.close(() => resolve(true)))
  })
}

async function builtSpa(): Promise<{ root: string }> {
  await build({ root: webFolder, configFile: join(webFolder, 'vite.config.ts'), logLevel: 'warn' })
  return { root: join(webFolder, 'dist') }
}

/** Vite with hot reload, on a port of its own that only this machine reaches; browsers see it through the public one. */
async function developedSpa(): Promise<{ dev_server: string }> {
  const vite = await createVite({
    root: webFolder,
    configFile: join(webFolder, 'vite.config.ts'),
    server: { host: '127.0.0.1', port: 0 },
  })
  await vite.listen()
  const [url] = vite.resolvedUrls?.local ?? []
  if (url === undefined) throw new Error('Vite listens nowhere')
  return { dev_server: new URL(url).origin }
}

/** How a browser comes to trust the demo's certificate; shown where there is one. */
function trustAdvice(authorityFile: string): string {
  return `
  The browser must trust the demo's authority once. Its private key was thrown away after it signed this one certificate.

    ${authorityFile}

    Linux, Chrome    certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n token-handler-demo -i ${authorityFile}
    macOS            security add-trusted-cert -k ~/Library/Keychains/login.keychain-db ${authorityFile}
    Windows          certutil -user -addstore Root ${authorityFile}
    Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import

  Safari also needs a line in /etc/hosts: 127.0.0.1 www.example.localhost api.example.localhost
`
}

function banner(demo: Demo, seconds: string): string {
  const addresses = isHttps
    ? `    SPA                     ${demo.url}
    Agent and proxy         ${demo.backendUrl}  (/oauth-agent  /api)`
    : `    SPA, agent and proxy    ${demo.url}            (/  /oauth-agent  /api)`
  return `
  Token Handler demo, ready in ${seconds} s

${addresses}
    Authorization server    ${demo.authorizationServer.issuer}
    Example API             ${demo.api.url}
    Storage (S3)            ${demo.storage.url}
    Admin                   ${demo.adminUrl}/readyz
    Operations page         ${demo.adminUrl}/operations
      its key, of this start  ${demo.adminKey}
${demo.authorityFile === undefined ? '' : trustAdvice(demo.authorityFile)}
  Sign in as demo with the password demo. Ctrl-C stops everything.
`
}

try {
  refuseOtherOptions()
  if (isHttps && isDevelopment) throw new StartProblem('--https shows the built SPA; start without --dev')
  const ports = readPorts()
  await refuseTakenPorts(ports)
  const startedAt = performance.now()
  const demo = await startDemo({
    ports,
    topology: isHttps ? 'cross-origin' : 'same-origin',
    certificateFolder,
    spa: isDevelopment ? await developedSpa() : await builtSpa(),
    logger: createLogger('warn'),
  })
  console.log(banner(demo, ((performance.now() - startedAt) / 1000).toFixed(1)))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void demo.close().finally(() => process.exit(0)))
  }
} catch (error) {
  if (!(error instanceof StartProblem)) throw error
  console.error(error.message)
  process.exitCode = 1
}
