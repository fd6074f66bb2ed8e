import { useState, type ReactNode } from 'react'
import type { Activity } from '../activity.ts'
import { Facts } from '../parts/facts.tsx'
import { displayName } from '../parts/header.tsx'
import { Lifetimes } from '../parts/lifetimes.tsx'
import { useProblem } from '../problem-context.ts'
import { readAnswer } from '../problems.ts'
import { backendUrl, client, useSession } from '../session.ts'

const WORDS: Readonly<Record<Activity['reason'], string>> = {
  loaded: 'Page opened',
  login: 'Logged in',
  updated: 'Session renewed',
  logout: 'Logged out',
  ended: 'Session ended',
}

export function Overview({ activity }: { readonly activity: readonly Activity[] }): ReactNode {
  const session = useSession()
  if (session === undefined) return null
  return (
    <div data-testid="overview">
      <section className="lead">
        <h1>Hello, {displayName(session)}</h1>
        <p>You are logged in, and this page knows you only by what the agent tells it.</p>
      </section>
      <div className="grid">
        <Lifetimes session={session} />
        <section className="card" aria-labelledby="claims">
          <h2 id="claims">Who you are</h2>
          <p className="quiet">Claims of the ID token, as far as the agent is configured to show them.</p>
          <Facts testId="claims" facts={session.idTokenClaims ?? {}} />
        </section>
        <WhoTheApiSees />
        <section className="card" aria-labelledby="activity">
          <h2 id="activity">What happened</h2>
          <ol className="events" data-testid="events">
            {activity.map(({ id, at, reason, otherTab }) => (
              <li key={id} data-reason={reason} data-other-tab={otherTab}>
                <time dateTime={at.toISOString()}>{at.toLocaleTimeString()}</time>
                <span>{WORDS[reason]}</span>
                {otherTab && <span className="tag">another tab</span>}
              </li>
            ))}
          </ol>
        </section>
      </div>
    </div>
  )
}

/** `GET /api/me` through the proxy: the API answers what it saw in the token that this page never had. */
function WhoTheApiSees(): ReactNode {
  const { attempt } = useProblem()
  const [answer, setAnswer] = useState<Record<string, unknown>>()
  const [busy, setBusy] = useState(false)
  const call = async (): Promise<void> => {
    setBusy(true)
    await attempt(async () =>
      setAnswer((await readAnswer(await client.fetch(backendUrl('/api/me')))) as Record<string, unknown>),
    )
    setBusy(false)
  }
  return (
    <section className="card" aria-labelledby="me">
      <h2 id="me">What the API sees</h2>
      <p className="quiet">
        <code>GET /api/me</code> answers what it read in the access token.
      </p>
      {answer !== undefined && <Facts testId="me" facts={answer} />}
      <button type="button" data-testid="call-me" disabled={busy} onClick={() => void call()}>
        {answer === undefined ? 'Call the API' : 'Call again'}
      </button>
    </section>
  )
}
