import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildKeyRing, generateKeyFile } from '@token-handler/shared'
import { CookieJar } from '../support/cookie-jar.ts'
import { AgentFleet } from './agents.ts'
import { startBackend } from './backend.ts'
import { BrowserRequests } from './browser-request.ts'
import { TorturedBrowser } from './browser.ts'
import { FaultSchedule, planFaults } from './faults.ts'
import { History } from './history.ts'
import { createLogIn } from './login.ts'
import { examine } from './oracle.ts'
import type { TortureOptions } from './options.ts'
import { createRandom } from './random.ts'
import { createRefreshFaults } from './refresh-faults.ts'
import { report, type Verdict } from './report.ts'
import { CookieReader } from './shown-cookies.ts'
import { missingMeans, startStore, type TortureStore } from './store.ts'
import { Storm } from './storm.ts'

const agentCount = 3
const stormEveryMs = 10_000
/** Between two faults of the store. */
const storePauseMs = 3_000
/** A session that is not refreshed within this time after the last fault is stuck. */
const settleMs = 90_000

/** Runs the whole plan. @param note Called with progress, a line at a time. */
export async function torture(options: TortureOptions, note: (line: string) => void): Promise<Verdict> {
  const { seed, store: storeKind, rotation, browsers: browserCount, tabs, thinkMs, timeoutSeconds } = options
  const startedAt = performance.now()
  const folder = mkdtempSync(join(tmpdir(), 'torture-'))
  const history = new History(options.history)
  const faults = planFaults(options.faults, storeKind, createRandom(seed, 'plan'), missingMeans(storeKind))
  const schedule = new FaultSchedule(faults)
  const leaseMs = (timeoutSeconds + 5) * 1000
  const backend = await startBackend(options, { graceMs: Math.max(60_000, 4 * leaseMs) })
  const store = await startStore(storeKind, { folder, agents: agentCount, history })
  const keyFile = generateKeyFile(new Date())
  writeFileSync(join(folder, 'keys.json'), JSON.stringify(keyFile), { mode: 0o600 })
  writeFileSync(join(folder, 'client-secret'), backend.clientSecret, { mode: 0o600 })

  const origin = new URL(backend.redirectUri).origin
  const agents = await AgentFleet.start({
    folder,
    history,
    preload: backend.preload,
    environment: (agent) => backend.environmentOf(agent),
    isStoreAway: (since) => history.outages.some(({ kind, to = Infinity }) => kind === 'store' && to >= since),
    onPause: (resumed) => void store.agentPaused(resumed),
    configurations: Array.from({ length: agentCount }, (_, agent) => ({
      public_url: origin,
      listen: { port: 0 },
      authorization_server: {
        issuer: backend.issuer,
        client_id: backend.clientId,
        client_authentication: { method: 'client_secret_basic', client_secret: 'file:client-secret' },
        redirect_uri: backend.redirectUri,
        timeout_seconds: timeoutSeconds,
        ...backend.settingsOf(agent),
      },
      keys: { file: 'keys.json' },
      ledger: store.ledgerOf(agent),
      // All these browsers have one address.
      agent: { rate_limit: { enabled: false } },
      // The oracle reads the log. Twice the lines fill the pipe of a busy machine, and kill -9 takes along what waits for it.
      audit: { sink: 'off' },
      log: { level: 'debug' },
    })),
  })
  const random = createRandom(seed, 'authorization server')
  const timeoutMs = timeoutSeconds * 1000
  backend.answerRefreshes(createRefreshFaults({ history, schedule, agents, random, timeoutMs }))

  const requests = new BrowserRequests({ origin, agents, history })
  const keys = buildKeyRing(keyFile, { issuer: backend.issuer, clientId: backend.clientId })
  const reader = new CookieReader(keys, backend.issuer)
  const logIn = createLogIn(requests, (url) => backend.authorize(url))
  const storm = new Storm(stormEveryMs)
  const browsers = Array.from({ length: browserCount }, (_, number) => {
    const newJar = (): CookieJar => new CookieJar()
    const own = { number, jar: newJar(), newJar, random: createRandom(seed, `browser ${number}`) }
    return new TorturedBrowser({
      ...own,
      tabs,
      agents: agentCount,
      thinkMs,
      requests,
      reader,
      logIn,
      history,
      schedule,
      storm,
    })
  })

  let isCut = false
  const interrupted = (): void => {
    isCut = true
  }
  // Whatever ends this process ends its agents.
  const abandoned = (): void => agents.kill9()
  process.once('SIGINT', interrupted).once('exit', abandoned)
  try {
    const isOver = (): boolean => schedule.isOver || isCut
    const progress = setInterval(() => note(progressLine(schedule, history)), 10_000)
    await Promise.all([
      strikeStore({ schedule, store, agents, history, seed, isOver }),
      ...browsers.map((browser) => browser.live(isOver)),
    ])
    clearInterval(progress)
    note('all faults injected; every session has to recover')
    await settle(browsers, { history, isCut: () => isCut })
    const codes = await agents.stop()
    for (const code of codes) if (code !== 0) history.violate('agents stop when asked', `exit code ${code}`)
    const findings = examine({ history, rotation, leaseMs, reconnectMs: store.reconnectMs, isAlive: backend.isAlive })
    const seconds = (performance.now() - startedAt) / 1000
    return report(options, { history, faults, findings, seconds })
  } finally {
    process.off('SIGINT', interrupted).off('exit', abandoned)
    agents.kill9()
    await requests.close()
    await store.close()
    await backend.close()
    await history.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function strikeStore({
  schedule,
  store,
  agents,
  history,
  seed,
  isOver,
}: {
  readonly schedule: FaultSchedule
  readonly store: TortureStore
  readonly agents: AgentFleet
  readonly history: History
  readonly seed: number
  readonly isOver: () => boolean
}): Promise<void> {
  const random = createRandom(seed, 'store')
  while (!isOver()) {
    await sleep(storePauseMs * random.between(0.5, 1.5))
    const fault = schedule.take('store')
    if (fault === undefined) continue
    const agent = random.below(agents.size)
    history.inject(fault, undefined, agent)
    await store.strike(fault, agent, agents.pid(agent))
    history.heal(fault)
  }
}

/** Every session that is not over must lead to the live refresh token. */
async function settle(
  browsers: readonly TorturedBrowser[],
  { history, isCut }: { readonly history: History; readonly isCut: () => boolean },
): Promise<void> {
  const deadline = Date.now() + settleMs
  let left = [...browsers]
  while (left.length > 0 && !isCut()) {
    const results = await Promise.all(left.map((browser) => browser.settle()))
    left = left.filter((_, index) => results[index] === false)
    if (Date.now() > deadline) break
    if (left.length > 0) await sleep(250)
  }
  for (const { session, lastWord } of left) {
    if (session !== undefined) history.violate('every live session can be refreshed', lastWord, session.id)
  }
}

function progressLine(schedule: FaultSchedule, history: History): string {
  const injected = schedule.all.filter(({ injectedAt }) => injectedAt !== undefined).length
  const { receptions, violations, sessions, mostInFlight } = history
  return `${injected} of ${schedule.all.length} faults, ${receptions.length} refreshes, ${sessions.size} sessions, at most ${mostInFlight} requests at once, ${violations.length} broken`
}
