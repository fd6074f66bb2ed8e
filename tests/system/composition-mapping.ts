import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../support/compose.ts'
import { freePort } from '../support/free-port.ts'

/** Ports as the files have them; each is given a free one, for each service where it is a service's own. */
const ports: Readonly<Record<string, readonly number[]>> = {
  ledger: [6379],
  'authorization-server': [3100],
  api: [3200],
  agent: [3000, 3001],
  proxy: [3010, 3001],
  spa: [3300],
  gateway: [8080],
}

/** Texts of docker-compose.yml and deploy/compose as they are outside of containers. */
export interface Mapping {
  /** The free port that stands for a port of a service. */
  portOf(service: string, port: number): number
  /** A text that belongs to a service. */
  text(service: string, text: string): string
}

export async function createMapping(places: { folder: string; secrets: string; spaRoot: string }): Promise<Mapping> {
  const free = new Map<string, number>()
  for (const [service, own] of Object.entries(ports)) {
    for (const port of own) free.set(`${service}:${port}`, await freePort())
  }
  const portOf = (service: string, port: number): number => {
    const found = free.get(`${service}:${port}`)
    if (found === undefined) throw new Error(`${service} has no port ${port}`)
    return found
  }
  const gatewayPort = portOf('gateway', 8080)
  const own = (service: string): RegExp =>
    new RegExp(String.raw`(?<![\d:/.])\b(?:${ports[service]?.join('|') ?? '(?!)'})\b`, 'g')
  return {
    portOf,
    text(service, text) {
      return (
        text
          // From everywhere the same: the gateway.
          .replaceAll('login.localhost:8080', `127.0.0.1:${gatewayPort}`)
          .replaceAll('localhost:8080', `localhost:${gatewayPort}`)
          .replaceAll('server_name login.localhost', 'server_name 127.0.0.1')
          // Other services by name, and its own port, in addresses and alone.
          .replaceAll(/\b([a-z-]+):(\d{4})\b/g, (whole, name: string, port: string) =>
            free.has(`${name}:${port}`) ? `127.0.0.1:${portOf(name, Number(port))}` : whole,
          )
          .replaceAll(/127\.0\.0\.1:(\d{4})\b/g, (whole, port: string) => {
            const mapped = free.get(`${service}:${port}`)
            return mapped === undefined ? whole : `127.0.0.1:${mapped}`
          })
          .replaceAll(own(service), (port) => String(portOf(service, Number(port))))
          .replaceAll('0.0.0.0', '127.0.0.1')
          .replaceAll('172.30.80.10', '127.0.0.1')
          .replaceAll('/app/spa-example/web/dist', places.spaRoot)
          .replaceAll('/app/', `${repository}/`)
          .replaceAll('/etc/token-handler/', `${places.folder}/${service}/`)
          .replaceAll('/var/lib/token-handler', places.secrets)
          .replaceAll('/data', join(places.folder, 'data'))
      )
    },
  }
}

/** Gives a service its own copy of deploy/compose, mapped. */
export function mapConfigurationFiles(service: string, map: Mapping, folder: string): void {
  const source = join(repository, 'deploy/compose')
  const target = join(folder, service)
  cpSync(source, target, { recursive: true })
  for (const name of readdirSync(target)) {
    // Agent and proxy have the same admin port in containers of their own.
    const owner = name === 'agent.yaml' ? 'agent' : name === 'proxy.yaml' ? 'proxy' : service
    writeFileSync(
      join(target, name),
      map.text(owner, readFileSync(join(source, name), 'utf8')).replaceAll(join(folder, owner), target),
    )
  }
}
