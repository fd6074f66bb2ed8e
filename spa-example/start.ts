import { createServer as createProbe, type Server } from 'node:net'
import { join } from 'node:path'
import type { RequestListener } from 'node:http'
import { createLogger } from '@token-handler/shared'
import { build, createServer as createVite } from 'vite'
import { startDemo, type DemoOptions } from './demo.ts'

const webFolder = join(import.meta.dirname, 'web')
const isDevelopment = process.argv.includes('--dev')

const portVariables = {
  web: { variable: 'TH_PORT', fallback: 3000, host: '127.0.0.1' },
  authorizationServer: { variable: 'TH_AS_PORT', fallback: 3100, host: '127.0.0.1' },
  api: { variable: 'TH_API_PORT', fallback: 3200, host: '127.0.0.1' },
  admin: { variable: 'TH_ADMIN_PORT', fallback: 3001, host: '127.0.0.1' },
} as const

/** What stops the start and what to do about it; shown without a stack. */
class StartProblem extends Error {}

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
  for (const [name, { variable, host }] of Object.entries(portVariables)) {
    const port = ports[name as keyof typeof ports]
    if (!(await isFree(port, host)))
      taken.push(`port ${port} on ${host} is taken; choose another with ${variable}=PORT`)
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

/** Vite's development server in this process: its modules and its hot-reload socket come from the public port. */
async function developedSpa(server: Server): Promise<RequestListener> {
  const vite = await createVite({
    root: webFolder,
    configFile: join(webFolder, 'vite.config.ts'),
    appType: 'mpa',
    server: { middlewareMode: true, hmr: { server: server as never, path: '/@vite/hmr' } },
  })
  return (req, res) => {
    const path = (req.url ?? '/').split('?', 1)[0] ?? '/'
    if (path === '/callback') req.url = '/callback.html'
    else if (!path.includes('.') && !path.startsWith('/@') && !path.startsWith('/src/')) req.url = '/index.html'
    vite.middlewares(req, res)
  }
}

try {
  const ports = readPorts()
  await refuseTakenPorts(ports)
  const startedAt = performance.now()
  const demo = await startDemo({
    ports,
    spa: isDevelopment ? { handler: developedSpa } : await builtSpa(),
    logger: createLogger('warn'),
  })
  console.log(`
  Token Handler demo, ready in ${((performance.now() - startedAt) / 1000).toFixed(1)} s

    SPA, agent and proxy    ${demo.url}            (/  /oauth-agent  /api)
    Authorization server    ${demo.authorizationServer.issuer}
    Example API             ${demo.api.url}
    Admin                   ${demo.adminUrl}/readyz

    Sign in as demo with the password demo. Ctrl-C stops everything.
`)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void demo.close().finally(() => process.exit(0)))
  }
} catch (error) {
  if (!(error instanceof StartProblem)) throw error
  console.error(error.message)
  process.exitCode = 1
}
