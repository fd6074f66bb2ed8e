import { generateKeyFile, type KeyFile } from '@token-handler/shared'
import { startContender } from './contenders/all.ts'
import type { Contender, ContenderName } from './contenders/contender.ts'
import type { LoadAnswer, LoadQuestion } from './load-generator.ts'
import type { BenchOptions } from './options.ts'
import { startChild, type Child } from './processes.ts'
import type { Traffic } from './traffic.ts'
import type { UpstreamAnswer, UpstreamQuestion } from './upstream.ts'

/** The processes of one run: the upstream, the load generator, and the contenders that measurements start. */
export class Bench {
  readonly options: BenchOptions
  readonly keyFile: KeyFile = generateKeyFile(new Date())
  readonly load: Child<LoadQuestion, LoadAnswer>
  readonly upstream: Child<UpstreamQuestion, UpstreamAnswer>
  readonly #prepared = new Set<string>()
  #upstreamPort = 0

  private constructor(options: BenchOptions) {
    this.options = options
    this.load = startChild(new URL('./load-generator.ts', import.meta.url), 'others', ['--max-semi-space-size=64'])
    this.upstream = startChild(new URL('./upstream.ts', import.meta.url), 'others')
  }

  static async start(options: BenchOptions): Promise<Bench> {
    const bench = new Bench(options)
    bench.#upstreamPort = (await bench.upstream.ask({ do: 'listen' })).port
    return bench
  }

  /**
   * Starts a contender; the caller stops it.
   * @returns `undefined` when the program that it needs is not installed.
   */
  startContender(name: ContenderName, routes = 10): Promise<Contender | undefined> {
    return startContender(name, {
      routes,
      upstreamPort: this.#upstreamPort,
      keyFile: this.keyFile,
      profileFolder: this.options.profileFolder,
    })
  }

  /** Has the load generator build its requests, unless they are there already. */
  async prepare(traffic: Traffic): Promise<void> {
    if (this.#prepared.has(traffic.name) && traffic.cookies === undefined) return
    await this.load.ask({ do: 'prepare', traffic, keyFile: this.keyFile })
    this.#prepared.add(traffic.name)
  }

  async stop(): Promise<void> {
    await Promise.all([this.load.stop(), this.upstream.stop()])
  }
}
