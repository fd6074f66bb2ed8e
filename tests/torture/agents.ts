import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { History, Outage } from './history.ts'

const main = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))

export interface FleetOptions {
  readonly folder: string
  readonly history: History
  /** The configuration of each agent. */
  readonly configurations: readonly object[]
  /** Loaded into each agent before anything else. */
  readonly preload: string | undefined
  readonly environment: (agent: number) => Readonly<Record<string, string>>
  /** Whether the store was away at some time since an instant. */
  readonly isStoreAway: (since: number) => boolean
  /** Called when an agent was stopped; it may have the store's lock in its hands until it goes on. */
  readonly onPause: (resumed: Promise<void>) => void
}

/** Agent processes, `token-handler start --only agent` each, that can be killed and paused at any moment. */
export class AgentFleet {
  readonly #options: FleetOptions
  /** Those that serve. */
  readonly #running = new Map<number, ChildProcess>()
  /** All that there are. */
  readonly #children = new Set<ChildProcess>()
  readonly #urls: (string | undefined)[] = []
  readonly #paused = new Set<number>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #brokenAt = 0
  #isStopping = false

  private constructor(options: FleetOptions) {
    this.#options = options
  }

  static async start(options: FleetOptions): Promise<AgentFleet> {
    const fleet = new AgentFleet(options)
    options.configurations.forEach((configuration, agent) =>
      writeFileSync(join(options.folder, `agent-${agent}.yaml`), stringify(configuration)),
    )
    await Promise.all(options.configurations.map((_, agent) => fleet.#start(agent)))
    return fleet
  }

  get size(): number {
    return this.#options.configurations.length
  }

  /** Where an agent listens, or listened before it was killed. */
  url(agent: number): string {
    return this.#urls[agent] ?? 'http://127.0.0.1:9'
  }

  /** Whether an agent can be broken now: another one stays well, and the last one was broken some time ago. */
  mayBreak(agent: number, pauseMs: number): boolean {
    const isWell = (one: number): boolean => this.#running.has(one) && !this.#paused.has(one)
    const isLast = ![...this.#running.keys()].some((other) => other !== agent && isWell(other))
    if (!isWell(agent) || isLast || this.#isStopping || Date.now() - this.#brokenAt < pauseMs) return false
    this.#brokenAt = Date.now()
    return true
  }

  /** kill -9. The process is gone when this resolves, and another one on its way to take its place. */
  async kill(agent: number): Promise<{ readonly restarted: Promise<void> }> {
    const child = this.#running.get(agent)
    this.#brokenAt = Date.now()
    if (child === undefined) return { restarted: Promise.resolve() }
    const outage = this.#open('killed', agent)
    const exited = once(child, 'exit')
    this.#running.delete(agent)
    child.kill('SIGKILL')
    await exited
    return { restarted: this.#restart(agent, outage) }
  }

  /** Stops a process for a while, as a long garbage collection or a suspended machine does. */
  pause(agent: number, ms: number): { readonly resumed: Promise<void> } {
    const child = this.#running.get(agent)
    this.#brokenAt = Date.now()
    if (child === undefined) return { resumed: Promise.resolve() }
    const outage = this.#open('paused', agent)
    this.#paused.add(agent)
    child.kill('SIGSTOP')
    const resumed = new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        child.kill('SIGCONT')
        this.#paused.delete(agent)
        outage.to = Date.now()
        this.#brokenAt = Date.now()
        resolve()
      }, ms)
      this.#timers.add(timer)
    })
    this.#options.onPause(resumed)
    return { resumed }
  }

  async #restart(agent: number, outage: Outage): Promise<void> {
    await this.#start(agent)
    outage.to = Date.now()
    this.#brokenAt = Date.now()
  }

  pid(agent: number): number | undefined {
    return this.#running.get(agent)?.pid
  }

  /** SIGTERM, as an operator stops them. @returns Exit codes. */
  async stop(): Promise<(number | null)[]> {
    this.#isStopping = true
    return Promise.all(
      [...this.#running.values()].map(async (child) => {
        const exited = once(child, 'exit') as Promise<[number | null]>
        child.kill('SIGTERM')
        const [code] = await exited
        return code
      }),
    )
  }

  /** Whatever still runs, at once. */
  kill9(): void {
    this.#isStopping = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const child of this.#children) child.kill('SIGKILL')
  }

  #open(kind: 'killed' | 'paused', agent: number): Outage {
    const outage: Outage = { kind, agent, from: Date.now(), to: undefined }
    this.#options.history.outages.push(outage)
    this.#options.history.note(kind, { agent })
    return outage
  }

  /** Starts an agent, again and again as a supervisor does, for one that finds its store locked gives up. */
  async #start(agent: number): Promise<void> {
    const { history, isStoreAway } = this.#options
    const since = Date.now()
    for (;;) {
      const code = await this.#spawn(agent)
      if (code === 'started' || this.#isStopping) return
      if (!isStoreAway(since)) {
        history.violate('agents start', `agent ${agent} ended with ${code} before it served`)
        await sleep(1000)
      }
      await sleep(200)
    }
  }

  async #spawn(agent: number): Promise<'started' | number | NodeJS.Signals | null> {
    const { folder, preload, environment, history } = this.#options
    const loading = preload === undefined ? [] : ['--import', preload]
    const args = ['--conditions=token-handler-source', ...loading, main, 'start', '--only', 'agent']
    const child = spawn(process.execPath, [...args, '--config', `agent-${agent}.yaml`], {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '', NODE_NO_WARNINGS: '1', ...environment(agent) },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#children.add(child)
    return new Promise((resolve) => {
      let hasStarted = false
      createInterface({ input: child.stdout }).on('line', (line) => {
        const entry = JSON.parse(line) as Record<string, unknown>
        // The audit log has an event of that name, too.
        if (entry['event'] === 'started' && entry['type'] !== 'audit') {
          hasStarted = true
          this.#urls[agent] = `http://${String(entry['address'])}`
          this.#running.set(agent, child)
          resolve('started')
        }
        this.#keep(agent, entry)
      })
      child.once('exit', (code, signal) => {
        this.#children.delete(child)
        if (!hasStarted) resolve(signal ?? code)
        else if (this.#running.get(agent) === child && !this.#isStopping) {
          history.violate('agents run', `agent ${agent} ended by itself with ${signal ?? code}`)
        }
      })
    })
  }

  #keep(agent: number, entry: Readonly<Record<string, unknown>>): void {
    const { event, time, session, generation } = entry
    if (typeof event !== 'string' || event === 'request') return
    const { history } = this.#options
    history.events.push({
      at: Date.parse(String(time)),
      agent,
      event,
      session: typeof session === 'string' ? session : undefined,
      generation: typeof generation === 'number' ? generation : undefined,
    })
    history.note('event', { agent, ...entry })
  }
}
