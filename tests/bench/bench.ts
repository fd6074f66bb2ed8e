import { generateKeyFile, type KeyFile } from '@token-handler/shared'
import { startContender } from './contenders/all.ts'
import type { Contender, ContenderName } from './contenders/contender.ts'
import type { LoadAnswer, LoadQuestion } from './load-generator.ts'
import type { BenchOptions } from './options.ts'
import { startChild, type Child } from './processes.ts'
import type { UpstreamAnswer, UpstreamQuestion } from './upstream.ts'

/** The processes of one run: upstream, load generator, and whichever contenders are asked for. */
export class Bench {
  readonly options: BenchOptions
  readonly keyFile: KeyFile = generateKeyFile(new Date())
  readonly load: Child<LoadQuestion, LoadAnswer>
  readonly upstream: Child<UpstreamQuestion, UpstreamAnswer>
  readonly #contenders = new Map<ContenderName, Contender | undefined>()
  #upstreamPort = 0

  private constructor(options: BenchOptions) {
    this.options = options
    this.load = startChild(new URL('./load-generator.ts', import.meta.url), ['--max-semi-space-size=64'])
    this.upstream = startChild(new URL('./upstream.ts', import.meta.url))
  }

  static async start(options: BenchOptions): Promise<Bench> {
    const bench = new Bench(options)
    bench.#upstreamPort = (await bench.upstream.ask({ do: 'listen' })).port
    return bench
  }

  /** @returns `undefined` when the program is not installed. */
  async contender(name: ContenderName): Promise<Contender | undefined> {
    if (!this.#contenders.has(name)) this.#contenders.set(name, await this.startContender(name))
    return this.#contenders.get(name)
  }

  /** Starts one that is not shared with other measurements. The caller stops it. */
  startContender(name: ContenderName): Promise<Contender | undefined> {
    return startContender(name, {
      upstreamPort: this.#upstreamPort,
      keyFile: this.keyFile,
      profileFolder: this.options.profileFolder,
    })
  }

  async stop(): Promise<void> {
    const running = [...this.#contenders.values()].filter((contender) => contender !== undefined)
    await Promise.all([...running, this.load, this.upstream].map((part) => part.stop()))
  }
}
