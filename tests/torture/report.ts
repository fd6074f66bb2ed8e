import { faultKinds, type Fault, type FaultKind, type Place } from './faults.ts'
import type { History } from './history.ts'
import { faultOf, type Findings } from './oracle.ts'
import type { TortureOptions } from './options.ts'

/** What is printed at the end. The last line is `N passed, M failed`: faults without, and promises broken. */
export interface Verdict {
  readonly text: string
  readonly failed: number
}

const shownViolations = 20

export function report(
  options: TortureOptions,
  {
    history,
    faults,
    findings,
    seconds,
  }: { history: History; faults: readonly Fault[]; findings: Findings; seconds: number },
): Verdict {
  const injected = faults.filter(({ injectedAt }) => injectedAt !== undefined)
  const blamed = new Set(history.violations.map((violation) => faultOf(violation, injected)))
  const passed = injected.filter((fault) => !blamed.has(fault)).length
  const failed = history.violations.length
  const lines = [
    ...heading(options, seconds),
    '',
    ...faultLines(injected),
    '',
    ...figures(history, findings),
    ...history.violations
      .slice(0, shownViolations)
      .map(
        ({ promise, detail, session }) => `BROKEN ${promise}: ${detail}${session === undefined ? '' : ` [${session}]`}`,
      ),
    ...(failed > shownViolations ? [`and ${failed - shownViolations} more`] : []),
    `${passed} passed, ${failed} failed`,
  ]
  return { text: `${lines.join('\n')}\n`, failed }
}

function heading({ store, rotation, seed, browsers, tabs, timeoutSeconds, external }: TortureOptions, seconds: number) {
  const server =
    external === undefined ? `${rotation} authorization server` : `${external.issuer}, taken for ${rotation}`
  return [
    `${store} ledger, ${server}, seed ${seed}`,
    `3 agents with a limit of ${timeoutSeconds} s a call, ${browsers} browsers with ${tabs} tabs, ${Math.round(seconds)} s`,
  ]
}

function faultLines(injected: readonly Fault[]): string[] {
  const places: readonly Place[] = ['authorization server', 'agent', 'store', 'browser']
  return places.flatMap((place) => {
    const kinds = (Object.keys(faultKinds) as FaultKind[]).filter((kind) => faultKinds[kind].place === place)
    const counted = kinds
      .map((kind) => [kind, injected.filter((fault) => fault.kind === kind).length] as const)
      .filter(([, count]) => count > 0)
    const total = sum(counted.map(([, count]) => count))
    return [row(`faults: ${place}`, total, counted.map(([kind, count]) => `${kind} ${count}`).join(', '))]
  })
}

function figures(history: History, findings: Findings): string[] {
  const sessions = [...history.sessions.values()]
  const { losses, windows, secondSends, overtaken, forgottenLogouts, checkedLogouts } = findings
  const lost = sum(Object.values(losses))
  const byWindow = Object.entries(losses).map(([window, count]) => `${count} ${window}`)
  const requests = [...history.counts].filter(([what]) => what.includes('/'))
  const doubts = history.events.filter(({ event }) => event === 'refresh_in_doubt').length
  const logouts = sessions.filter(({ logout }) => logout !== undefined).length
  return [
    row('requests', sum(requests.map(([, count]) => count)), `at most ${history.mostInFlight} at once`),
    row('longest answer', history.longestAnswerMs, 'ms, pauses of its agent not counted'),
    row('refreshes', history.receptions.length, `${granted(history)} granted by the authorization server`),
    row('sent again', secondSends, `reported as refresh_in_doubt: ${doubts}`),
    row('sessions', sessions.length, `${logouts} logged out, ${checkedLogouts} of them looked for tokens left alive`),
    row('windows', windows, 'successes that a kill, a pause or a cut kept from being committed'),
    row('lost', lost, `in windows: ${byWindow.join(', ')}`),
    ...(overtaken > 0 ? [row('overtaken', overtaken, 'by somebody who used a copy of the cookies')] : []),
    ...(forgottenLogouts > 0 ? [row('forgotten', forgottenLogouts, 'logouts: store away, then the agent killed')] : []),
    '',
  ]
}

function granted({ receptions }: History): number {
  return receptions.filter(({ outcome }) => outcome === 'granted').length
}

function row(name: string, count: number, rest: string): string {
  return `${name.padEnd(30)} ${count.toLocaleString('en').padStart(7)}  ${rest}`
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
