import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { blockListOf, containsAddress, loadConfig } from '@token-handler/shared'
import { parse } from 'yaml'
import { execForm, readComposeFile, readDockerfile, repository, type ComposeService } from '../support/compose.ts'

const compose = readComposeFile()
const stages = readDockerfile()
const services = Object.entries(compose.services)
const networksOf = ({ networks }: ComposeService): string[] =>
  Array.isArray(networks) ? networks : Object.keys(networks)

describe('docker-compose.yml', () => {
  it('has agent, proxy, SPA, API and authorization server, each a container of its own, behind one gateway', () => {
    expect(Object.keys(compose.services)).toEqual([
      'init',
      'ledger',
      'agent',
      'proxy',
      'spa',
      'api',
      'authorization-server',
      'gateway',
    ])
    expect(services.filter(([, { ports }]) => ports.length > 0).map(([name]) => name)).toEqual(['gateway'])
  })

  it('names only services, networks, volumes, files and stages that exist, and uses all that it declares', () => {
    const all = services.map(([, service]) => service)
    const sources = all.flatMap(({ volumes }) => volumes.map((volume) => volume.split(':', 1)[0] ?? ''))
    const files = sources.filter((source) => source.startsWith('.'))
    expect(files.filter((source) => !existsSync(join(repository, source)))).toEqual([])
    const named = new Set(sources.filter((source) => !source.startsWith('.')))
    expect([...named].toSorted()).toEqual(Object.keys(compose.volumes).toSorted())
    expect([...new Set(all.flatMap(networksOf))].toSorted()).toEqual(Object.keys(compose.networks).toSorted())
    const awaited = all.flatMap(({ depends_on: dependsOn }) => Object.keys(dependsOn))
    expect(awaited.filter((name) => !(name in compose.services))).toEqual([])
    const targets = all.flatMap(({ build }) => (build === undefined ? [] : [build.target]))
    expect(targets.filter((target) => !stages.has(target))).toEqual([])
  })

  it('waits for health only where there is a health check', () => {
    for (const [, { depends_on: dependsOn }] of services) {
      for (const [name, { condition }] of Object.entries(dependsOn)) {
        const { build, healthcheck } = compose.services[name] as ComposeService
        const stage = stages.get(build?.target ?? '')
        const hasCheck =
          healthcheck?.test !== undefined || (stage !== undefined && execForm(stage, 'HEALTHCHECK').length > 0)
        expect([name, condition !== 'service_healthy' || hasCheck]).toEqual([name, true])
      }
    }
  })

  it.each(services)('%s has a read-only root file system, no capabilities, and no way to more', (_name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      tmpfs: ['/tmp'],
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    })
  })

  it('lets nobody but the proxy reach the API, and nobody but agent and proxy the ledger', () => {
    const members = (network: string): string[] =>
      services.filter(([, service]) => networksOf(service).includes(network)).map(([name]) => name)
    expect(members('ledger')).toEqual(['ledger', 'agent', 'proxy'])
    expect(members('apis')).toEqual(['proxy', 'api', 'authorization-server'])
    expect(compose.networks).toMatchObject({ ledger: { internal: true }, apis: { internal: true } })
  })

  it('has a gateway with an address of its own, which agent and proxy trust, and nobody else is given', () => {
    const { subnet = '', ip_range: givenOut = '' } = compose.networks['edge']?.ipam?.config[0] ?? {}
    const { networks } = compose.services['gateway'] as ComposeService
    const address = Array.isArray(networks) ? '' : (networks['edge']?.ipv4_address ?? '')
    expect(containsAddress(blockListOf([subnet]), address)).toBe(true)
    expect(containsAddress(blockListOf([givenOut]), address)).toBe(false)
    for (const name of ['agent', 'proxy']) {
      const text = readFileSync(join(repository, `deploy/compose/${name}.yaml`), 'utf8')
      expect([name, parse(text)]).toEqual([
        name,
        expect.objectContaining({ proxy: expect.objectContaining({ trusted_proxies: [address] }) }),
      ])
    }
  })

  it('gives secrets only to those who need them, readable', () => {
    const holders = (volume: string): string[] =>
      services.flatMap(([name, { volumes }]) =>
        volumes
          .filter((mount) => mount.startsWith(`${volume}:`))
          .map((mount) => `${name}${mount.endsWith(':ro') ? '' : ' (writes)'}`),
      )
    expect(holders('agent-keys')).toEqual(['init (writes)', 'agent'])
    expect(holders('proxy-keys')).toEqual(['init (writes)', 'proxy'])
    expect(holders('client-secret')).toEqual(['init (writes)', 'agent', 'authorization-server'])
  })

  it('holds no secret itself, nor does any file of deploy/', () => {
    const files = readdirSync(join(repository, 'deploy'), { recursive: true, withFileTypes: true })
    const texts = files.filter((file) => file.isFile()).map(({ parentPath, name }) => join(parentPath, name))
    expect(texts.length).toBeGreaterThan(5)
    for (const file of [...texts, join(repository, 'docker-compose.yml'), join(repository, 'Dockerfile')]) {
      // Names of metrics and of nginx's variables are as long as secrets are.
      const text = readFileSync(file, 'utf8').replaceAll(/\b[a-z]+(?:_[a-z]+){2,}\b/g, 'a_name')
      expect([file, /(?:secret|password|key)["']?\s*[:=]\s*["']?[A-Za-z0-9_-]{12,}/i.exec(text)]).toEqual([file, null])
      expect([file, /PRIVATE KEY|[A-Za-z0-9_-]{40,}/.exec(text)]).toEqual([file, null])
    }
  })
})

describe('the configuration files of deploy/compose', () => {
  const { PUBLIC_URL, ISSUER } = compose.services['agent']?.environment ?? {}
  const env = { PUBLIC_URL: String(PUBLIC_URL), ISSUER: String(ISSUER) }

  it('are read by agent and proxy, which agree on everything that the keys and cookies depend on', () => {
    const proxy = loadConfig(join(repository, 'deploy/compose/proxy.yaml'), { only: 'proxy', env })
    expect(() => loadConfig(join(repository, 'deploy/compose/agent.yaml'), { only: 'agent', env })).toThrow(
      // The volume with the secret is not here; nothing else is wrong.
      /has 1 problem:\n {2}authorization_server\.client_authentication\.client_secret: the file that it names cannot be read/,
    )
    const agentText = readFileSync(join(repository, 'deploy/compose/agent.yaml'), 'utf8')
    expect(agentText).toContain(`client_id: ${proxy.authorization_server.client_id}\n`)
    expect(proxy.proxy.routes.map(({ path }) => path)).toEqual([
      '/api/orders',
      '/api/me',
      '/api/events',
      '/api/feed',
      '/api/cancellations',
    ])
  })

  it('give agent and proxy no more time to stop than their containers have before they are killed', () => {
    for (const name of ['agent', 'proxy']) {
      const {
        shutdown_seconds: requestsSeconds,
        authorization_server: { timeout_seconds: callSeconds },
      } = loadConfig(join(repository, `deploy/compose/${name}.yaml`), { only: 'command', env })
      // Docker's own is 10 s. Connections to APIs have 10 s besides, the audit log 4.
      const grace = Number.parseInt(compose.services[name]?.stop_grace_period ?? '10', 10)
      expect(grace).toBeGreaterThan(requestsSeconds + callSeconds + 10 + 4)
    }
  })
})

describe('the Dockerfile', () => {
  it('ends in the production image: not root, with a health check by node itself', () => {
    const [name, stage] = [...stages].at(-1) ?? []
    expect(name).toBe('runtime')
    expect(stage?.base).toBe('node:26-slim')
    expect(stage?.instructions.findLast((instruction) => instruction.name === 'USER')?.argument).toBe('node')
    expect(execForm(stage as never, 'HEALTHCHECK')).toEqual(['node', '/app/deploy/healthcheck.ts'])
  })

  it('copies every workspace manifest before it installs, so that npm finds the tree of the lock file', () => {
    const { workspaces } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
      workspaces: string[]
    }
    const copied = stages.get('manifests')?.instructions.map(({ argument }) => argument) ?? []
    for (const workspace of workspaces) expect(copied).toContain(`${workspace}/package.json ${workspace}/`)
  })

  it('copies only files that are there and that .dockerignore lets through', () => {
    const ignored = readFileSync(join(repository, '.dockerignore'), 'utf8').split('\n')
    for (const { instructions } of stages.values()) {
      for (const { name, argument } of instructions) {
        if (name !== 'COPY' || argument.startsWith('--from')) continue
        for (const source of argument.split(' ').slice(0, -1)) {
          expect([source, existsSync(join(repository, source))]).toEqual([source, true])
          const [top = ''] = normalize(source).split('/')
          expect([source, source === '.' || ignored.includes(`!${top}`)]).toEqual([source, true])
        }
      }
    }
  })

  it('carries in the last image what its workspaces are at run time, and the dist folder of each', () => {
    const copied = stages.get('runtime')?.instructions.map(({ argument }) => argument) ?? []
    for (const workspace of ['shared', 'oauth-agent', 'oauth-proxy', 'cli']) {
      expect(copied).toContain(`--from=build /app/${workspace}/dist ${workspace}/dist`)
    }
  })
})
