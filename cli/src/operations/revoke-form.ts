import type { Unknown } from '@token-handler/shared'
import { revocationSchema, type Revocation, type RevocationRequest } from '../admin/revocation.ts'
import { unreadableText, type ListedSession } from '../admin/sessions.ts'
import type { BrowserSession } from './browser-sessions.ts'
import { formatNumber } from './charts.ts'
import { frame, tokenField } from './frame.ts'
import { html, type Html } from './html.ts'

/** Targets by the name that {@link revocationSchema} has for them. */
const targets = {
  sub: 'Subject (sub)',
  sid: 'Session (sid)',
  as_sid: 'Session of the authorization server',
  client: 'Client id',
  kid: 'Key id',
  all: 'Everybody',
} as const

type Target = keyof typeof targets

const fieldNames = ['target', 'value', 'before', 'reason'] as const

/** What was typed, as it was typed. */
export type RevokeFields = Readonly<Record<(typeof fieldNames)[number], string>>

export function fieldsOf(form: URLSearchParams): RevokeFields {
  const field = (name: (typeof fieldNames)[number]): string => (form.get(name) ?? '').trim()
  return { target: field('target'), value: field('value'), before: field('before'), reason: field('reason') }
}

/** @returns The revocation that the form asks for, or what is wrong with it. */
export function requestOf(
  { target, value, before, reason }: RevokeFields,
  dryRun: boolean,
): RevocationRequest | { readonly problems: readonly string[] } {
  if (target === 'all' && value !== '')
    return { problems: ['Everybody: leave the value empty, or choose what it names'] }
  const result = revocationSchema.safeParse({
    ...(Object.hasOwn(targets, target) ? { [target]: target === 'all' ? true : value } : {}),
    ...(before === '' ? {} : { before }),
    ...(reason === '' ? {} : { reason }),
    dry_run: dryRun,
  })
  if (result.success) return result.data
  return { problems: result.error.issues.map(({ path, message }) => [...path.map(String), message].join(': ')) }
}

const none: RevokeFields = { target: 'sub', value: '', before: '', reason: '' }

export function revokeForm(session: BrowserSession, fields = none, problems: readonly string[] = []): Html {
  const { target, value, before, reason } = fields
  const option = ([name, label]: [string, string]): Html =>
    html`<option value="${name}" ${name === target ? html`selected` : undefined}>${label}</option>`
  return html`<section aria-labelledby="revoke">
    <h2 id="revoke">End sessions</h2>
    ${problems.map((problem) => html`<p class="card problem" role="alert">${problem}</p>`)}
    <form method="post" action="/operations/revoke" class="fields">
      ${tokenField(session)}
      <label
        >Whose
        <select name="target">
          ${Object.entries(targets).map(option)}
        </select></label
      >
      <label
        >Value <span>Empty for everybody.</span
        ><input name="value" value="${value}" maxlength="1024" autocomplete="off" spellcheck="false"
      /></label>
      <label
        >Began before <span>Instant with its zone; empty: now.</span
        ><input name="before" value="${before}" placeholder="2026-03-01T08:00:00Z" maxlength="40" autocomplete="off"
      /></label>
      <label
        >Reason <span>For the audit log: letters, digits, . : _ -</span
        ><input name="reason" value="${reason}" maxlength="64" autocomplete="off"
      /></label>
      <button>See what would end</button>
    </form>
    <p class="note">Nothing ends before you have seen how many sessions it would be, and confirmed.</p>
  </section>`
}

/** What a dry run found, and the button that does it. */
export function confirmPage(
  session: BrowserSession,
  fields: RevokeFields,
  dryRun: Revocation | Unknown,
  listed: readonly ListedSession[],
): string {
  const { target, value, before } = fields
  const { sessions, unreadable } = dryRun.state === 'done' ? dryRun : { sessions: undefined, unreadable: 0 }
  const many =
    sessions === undefined ? undefined : `${formatNumber(sessions)} live ${sessions === 1 ? 'session' : 'sessions'}`
  const wouldEnd =
    many === undefined ? 'How many live sessions this would end is not known.' : `This would end ${many}.`
  const left = unreadableText(unreadable, 'counted')
  const content = html`<section>
      <h2 data-testid="dry-run">${wouldEnd}</h2>
      <p>
        ${targets[target as Target]}${value === '' ? undefined : html`: <strong>${value}</strong>`}${
          before === '' ? undefined : html`, begun before ${before}`
        }.
        They end on every process, with their open streams, and cannot be brought back.
      </p>
      <div class="row">
        <form method="post" action="/operations/revoke/confirm">
          ${tokenField(session)}
          ${fieldNames.map((name) => html`<input type="hidden" name="${name}" value="${fields[name]}" />`)}
          <button class="danger">End ${many ?? 'them'}</button>
        </form>
        <a class="button" href="/operations">Cancel</a>
      </div>
      ${left === undefined ? undefined : html`<p class="note">${left}</p>`}
      ${sessions === 0 ? html`<p class="note">The rule also holds for copies of cookies that no live session is known for.</p>` : undefined}
    </section>
    ${listed.length === 0 ? undefined : sessionTable(listed)}`
  return frame('Confirm', content, session)
}

/** So many sessions are shown at most. */
const mostShown = 50

function sessionTable(sessions: readonly ListedSession[]): Html {
  return html`<section class="table">
    <table>
      <caption>
        Live sessions${sessions.length > mostShown ? `, the newest ${mostShown} of ${sessions.length}` : undefined};
        those that began later stay
      </caption>
      <thead>
        <tr>
          <th scope="col">sid</th>
          <th scope="col">Began</th>
          <th scope="col">Last active</th>
          <th scope="col" class="number">Refreshes</th>
          <th scope="col">Key</th>
        </tr>
      </thead>
      <tbody>
        ${sessions.slice(0, mostShown).map(
          ({ sid, started_at: began, last_active_at: active, generation, kid }) =>
            html`<tr>
              <td>${sid}</td>
              <td>${began}</td>
              <td>${active}</td>
              <td class="number">${generation}</td>
              <td>${kid}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </section>`
}
