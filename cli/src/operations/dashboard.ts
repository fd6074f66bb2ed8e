import type { Replica, Rules, Unknown } from '@token-handler/shared'
import { listKeys, listRules } from '../admin/state.ts'
import type { BrowserSession } from './browser-sessions.ts'
import { drawChart, formatNumber } from './charts.ts'
import { frame } from './frame.ts'
import type { Stretch } from './history.ts'
import { html, type Html, type HtmlValue } from './html.ts'
import { revokeForm, type RevokeFields } from './revoke-form.ts'

/** Ranges that can be looked at: hours, and minutes of a bar. */
export const ranges = { hour: { hours: 1, minutesEach: 1 }, day: { hours: 24, minutesEach: 15 } } as const
export type RangeName = keyof typeof ranges

export interface Dashboard {
  readonly session: BrowserSession
  readonly range: RangeName
  readonly stretches: readonly Stretch[]
  /** Live sessions now; `undefined` while the ledger cannot be asked. */
  readonly sessions: number | undefined
  readonly openStreams: number
  readonly rules: Pick<Rules, 'survey'>
  readonly replicas: Unknown | { readonly state: 'found'; readonly replicas: readonly Replica[] }
  readonly staleAfterMs: number
  /** Milliseconds since 1970. */
  readonly now: number
  readonly notice?: string | undefined
  readonly fields?: RevokeFields | undefined
  readonly problems?: readonly string[] | undefined
}

export function dashboard(view: Dashboard): string {
  const { session, range, notice, fields, problems, now } = view
  const link = (name: RangeName): Html =>
    html`<a href="/operations?range=${name}" ${name === range ? html`aria-current="page"` : undefined}>Last ${name}</a>`
  const content = html`${notice === undefined ? undefined : html`<p class="card notice" role="status" data-testid="notice">${notice}</p>`}
    <nav class="row" aria-label="Range">
      ${link('hour')} ${link('day')} <a class="button" href="/operations?range=${range}">Read again</a>
      <span class="note">As of ${new Date(now).toISOString().slice(0, 19)}Z</span>
    </nav>
    <p class="note">
      Sessions, rules, processes and keys are those of all processes; the rest was counted by this one, or its workers,
      since it started.
    </p>
    <div class="charts">${charts(view)}</div>
    ${revokeForm(session, fields, problems)}
    <div class="columns">
      <div>${refusalSection(view)}${keySection(view)}</div>
      <div>${replicaSection(view)}${ruleSection(view)}</div>
    </div>`
  return frame('Operations', content, session)
}

function charts({ stretches, sessions, openStreams, range }: Dashboard): Html[] {
  const sum = (of: (stretch: Stretch) => number): string =>
    formatNumber(stretches.reduce((total, stretch) => total + of(stretch), 0))
  const during = `in the last ${range}`
  return [
    drawChart({
      title: 'Live sessions',
      figure: sessions === undefined ? 'unknown' : formatNumber(sessions),
      meaning: sessions === undefined ? 'the ledger does not answer' : 'now, of all processes',
      stretches,
      valueOf: (stretch) => stretch.sessions,
    }),
    drawChart({
      title: 'Logins',
      figure: sum(({ logins }) => logins),
      meaning: during,
      stretches,
      valueOf: ({ logins }) => logins,
    }),
    drawChart({
      title: 'Refreshes',
      figure: sum(({ refreshes }) => refreshes),
      meaning: during,
      stretches,
      valueOf: ({ refreshes }) => refreshes,
    }),
    drawChart({
      title: 'Refusals',
      figure: sum(refused),
      meaning: `${during}, by agent and proxy`,
      stretches,
      valueOf: refused,
    }),
    drawChart({
      title: 'Open streams',
      figure: formatNumber(openStreams),
      meaning: 'now: event streams and WebSockets',
      stretches,
      valueOf: (stretch) => stretch.openStreams,
    }),
    drawChart({
      title: 'API requests',
      figure: sum(({ requests }) => requests),
      meaning: during,
      stretches,
      valueOf: ({ requests }) => requests,
    }),
  ]
}

function refused({ refusals }: Stretch): number {
  return [...refusals.values()].reduce((total, value) => total + value, 0)
}

function refusalSection({ stretches, range }: Dashboard): Html {
  const totals = new Map<string, number>()
  for (const { refusals } of stretches) {
    for (const [reason, value] of refusals) totals.set(reason, (totals.get(reason) ?? 0) + value)
  }
  const rows = [...totals]
    .toSorted(([, a], [, b]) => b - a)
    .map(([reason, value]) => [html`<code>${reason}</code>`, value])
  return section('Refusals by reason', `In the last ${range}`, ['Error code', '#Times'], rows, 'Nothing was refused.')
}

function keySection({ replicas }: Dashboard): Html {
  if (replicas.state === 'unknown') return unanswered('Keys')
  const { keys } = listKeys(replicas.replicas) as { keys: { kid: string; replicas: string[] }[] }
  const rows = keys.map(({ kid, replicas: holders }) => [
    html`<code>${kid}</code>`,
    `${holders.length} of ${replicas.replicas.length}`,
  ])
  return section(
    'Keys',
    'Keys that open cookies, by id',
    ['Key id', '#Processes that have it'],
    rows,
    'No process told its keys.',
  )
}

function replicaSection({ replicas, staleAfterMs }: Dashboard): Html {
  if (replicas.state === 'unknown') return unanswered('Processes')
  const rows = replicas.replicas.map(({ host, pid, version, parts, rules, staleForMs }) => [
    `${host} ${pid}`,
    `${parts}, ${version}`,
    rules,
    staleForMs === null
      ? html`<strong>knows no rules yet</strong>`
      : staleForMs > staleAfterMs
        ? html`<strong>${seconds(staleForMs)}, too stale</strong>`
        : seconds(staleForMs),
  ])
  const caption = `Heard of in the last 30 s; staleness over ${staleAfterMs / 1000} s makes the policy act`
  return section('Processes', caption, ['Process', 'Runs', '#Rules', '#Staleness'], rows, 'No process was heard of.')
}

/** So many rules are shown at most. */
const mostRules = 50

function ruleSection({ rules }: Dashboard): Html {
  const listed = listRules(rules) as {
    total: number
    rules: { target: string; id?: string; before?: string; reason: string; expires_at: string }[]
  }
  const shown = listed.rules.slice(0, mostRules)
  const rows = shown.map(({ target, id, before, reason, expires_at: expiresAt }) => [
    html`${target.replaceAll('_', ' ')} ${id === undefined ? undefined : html`<code>${id}</code>`}`,
    before ?? 'any',
    reason,
    expiresAt,
  ])
  const caption = `${formatNumber(listed.total)} in all${listed.total > shown.length ? `; ${shown.length} are shown` : ''}`
  return section(
    'Rules in force',
    caption,
    ['About', 'Began before', 'Reason', 'Forgotten'],
    rows,
    'No rule is in force.',
  )
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`
}

/** @param columns Names; those of numbers begin with `#`. */
function section(
  title: string,
  caption: string,
  columns: readonly string[],
  rows: readonly (readonly HtmlValue[])[],
  nothing: string,
): Html {
  const kind = (column = ''): string => (column.startsWith('#') ? 'number' : 'text')
  return html`<section class="table">
    <h2>${title}</h2>
    ${
      rows.length === 0
        ? html`<p class="note">${nothing}</p>`
        : html`<table>
            <caption>
              ${caption}
            </caption>
            <thead>
              <tr>
                ${columns.map((column) => html`<th scope="col" class="${kind(column)}">${column.replace('#', '')}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${rows.map(
                (row) =>
                  html`<tr>
                    ${row.map((cell, index) => html`<td class="${kind(columns[index])}">${cell}</td>`)}
                  </tr>`,
              )}
            </tbody>
          </table>`
    }
  </section>`
}

function unanswered(title: string): Html {
  return html`<section>
    <h2>${title}</h2>
    <p class="note">Unknown: the ledger does not answer.</p>
  </section>`
}
