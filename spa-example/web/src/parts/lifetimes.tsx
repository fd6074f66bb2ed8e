import { secondsLeft, type Session } from '@token-handler/client'
import { useEffect, useState, type ReactNode } from 'react'
import { useProblem } from '../problem-context.ts'
import { client, useNow } from '../session.ts'
import { Ring } from './ring.tsx'

/** Live countdowns of the access token, the session and the idle deadline. */
export function Lifetimes({ session }: { readonly session: Session }): ReactNode {
  const { attempt } = useProblem()
  const [busy, setBusy] = useState(false)
  const now = useNow()
  const token = secondsLeft(session, 'accessTokenExpiresIn', now)
  const absolute = secondsLeft(session, 'sessionExpiresIn', now)
  const idle = secondsLeft(session, 'idleExpiresIn', now)
  const isOver = absolute === 0 || idle === 0
  useEffect(() => {
    // A deadline passed: the agent says what has become of the session.
    if (isOver) void attempt(() => client.session())
  }, [isOver, attempt])

  const refresh = async (): Promise<void> => {
    setBusy(true)
    await attempt(() => client.refresh())
    setBusy(false)
  }
  return (
    <section className="card lifetimes" aria-labelledby="lifetimes">
      <h2 id="lifetimes">Lifetimes</h2>
      <div className="clock">
        <Ring left={token} lifetime={session.accessTokenLifetime} />
        <p className="reading" data-testid="token-countdown" data-seconds={whole(token)}>
          <b>{formatDuration(token)}</b>
          <span>access token</span>
        </p>
      </div>
      <p className="quiet">
        {token === 0
          ? 'The access token is over. The next call renews it first.'
          : 'After the mark, the next call renews it: once for all tabs.'}
      </p>
      <dl className="rows">
        <div>
          <dt>The session ends in</dt>
          <dd data-testid="session-countdown" data-seconds={whole(absolute)}>
            {formatDuration(absolute)}
          </dd>
        </div>
        <div>
          <dt>Sooner when idle, in</dt>
          <dd data-testid="idle-countdown" data-seconds={whole(idle)}>
            {formatDuration(idle)}
          </dd>
        </div>
      </dl>
      <button type="button" data-testid="refresh" disabled={busy} onClick={() => void refresh()}>
        {busy ? 'Refreshing …' : 'Refresh now'}
      </button>
    </section>
  )
}

function whole(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.floor(seconds)
}

/** `4:07`, `11 h 58 min`, or a dash for what the agent did not say. */
export function formatDuration(seconds: number | undefined): string {
  if (seconds === undefined) return '–'
  const total = Math.floor(seconds)
  const hours = Math.floor(total / 3600)
  const minutes = Math.floor((total % 3600) / 60)
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes}:${String(total % 60).padStart(2, '0')}`
}
