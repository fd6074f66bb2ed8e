import { eventSource, webSocket, type StreamState, type WebSocketStream } from '@token-handler/client/streams'
import { useEffect, useRef, useState, type ReactNode, type SubmitEvent } from 'react'
import { LoginButton } from '../parts/login-button.tsx'
import { backendUrl, client } from '../session.ts'

/** An event of the feed, whichever way it came. */
interface Entry {
  readonly id: number
  readonly text: string
}

const MOST = 6

export function Live({ isLoggedIn }: { readonly isLoggedIn: boolean }): ReactNode {
  return (
    <div data-testid="live-view">
      <section className="lead">
        <h1>Live</h1>
        <p>
          The same feed twice, through the proxy. Each stays open while access tokens come and go, and ends with the
          session, in whichever tab it ends. Place an order in another tab, or send a note.
        </p>
      </section>
      {/* Kept after the end of the session: how it ended is what there is to see. */}
      <div className="grid">
        <EventStream isLoggedIn={isLoggedIn} />
        <Socket isLoggedIn={isLoggedIn} />
      </div>
      {!isLoggedIn && (
        <section className="card empty below" data-testid="live-login">
          <p>Log in to hear what happens. You come back to this page.</p>
          <LoginButton testId="login-live" />
        </section>
      )}
    </div>
  )
}

function EventStream({ isLoggedIn }: { readonly isLoggedIn: boolean }): ReactNode {
  const [state, setState] = useState<StreamState>()
  const [entries, setEntries] = useState<readonly Entry[]>([])
  useEffect(() => {
    if (!isLoggedIn) return undefined
    const feed = eventSource(client, backendUrl('/api/events'), {
      onState: setState,
      onEvent: ({ type, data, lastEventId }) =>
        setEntries((before) => withEntry(before, { id: Number(lastEventId), text: describe(type, JSON.parse(data)) })),
    })
    return () => feed.close()
  }, [isLoggedIn])
  return (
    <section className="card" aria-labelledby="sse">
      <FeedTitle id="sse" title="Server-sent events" state={state} />
      <p className="quiet">
        <code>GET /api/events</code>, read with <code>fetch</code>: a new connection goes on after the last event.
      </p>
      <Entries testId="sse-entries" entries={entries} />
    </section>
  )
}

function Socket({ isLoggedIn }: { readonly isLoggedIn: boolean }): ReactNode {
  const [state, setState] = useState<StreamState>()
  const [entries, setEntries] = useState<readonly Entry[]>([])
  const [note, setNote] = useState('')
  const socket = useRef<WebSocketStream>(undefined)
  useEffect(() => {
    if (!isLoggedIn) return undefined
    socket.current = webSocket(client, backendUrl('/api/feed'), {
      protocols: ['feed.v1'],
      onState: setState,
      onMessage: (message) => {
        if (typeof message !== 'string') return
        const { id, type, data } = JSON.parse(message) as { id: number; type: string; data: object }
        setEntries((before) => withEntry(before, { id, text: describe(type, data) }))
      },
    })
    return () => socket.current?.close()
  }, [isLoggedIn])

  const send = (event: SubmitEvent): void => {
    event.preventDefault()
    if (socket.current?.send(note) === true) setNote('')
  }
  return (
    <section className="card" aria-labelledby="ws">
      <FeedTitle id="ws" title="WebSocket" state={state} />
      <p className="quiet">
        <code>/api/feed</code>, both ways: what you send here, both feeds of every tab hear.
      </p>
      <form className="note-form" onSubmit={send}>
        <input
          value={note}
          required
          maxLength={200}
          placeholder="A note"
          aria-label="A note"
          autoComplete="off"
          data-testid="note"
          onChange={(event) => setNote(event.target.value)}
        />
        <button type="submit" disabled={state?.status !== 'open'} data-testid="note-send">
          Send
        </button>
      </form>
      <Entries testId="ws-entries" entries={entries} />
    </section>
  )
}

const WORDS: Readonly<Record<string, string>> = {
  connecting: 'connecting',
  open: 'open',
  waiting: 'waiting to reconnect',
  closed: 'closed',
  session_ended: 'session ended',
  logout: 'session ended',
}

interface FeedTitleProps {
  readonly id: string
  readonly title: string
  readonly state: StreamState | undefined
}

function FeedTitle({ id, title, state }: FeedTitleProps): ReactNode {
  const code = state !== undefined && 'code' in state ? state.code : undefined
  return (
    <div className="title">
      <h2 id={id}>{title}</h2>
      {state !== undefined && (
        <span
          className={state.status === 'open' ? 'tag' : 'tag off'}
          role="status"
          data-testid={`${id}-state`}
          data-status={state.status}
          data-code={code}
        >
          {WORDS[(state.status === 'closed' && code) || state.status] ?? code}
        </span>
      )}
    </div>
  )
}

function Entries({ entries, testId }: { readonly entries: readonly Entry[]; readonly testId: string }): ReactNode {
  if (entries.length === 0) return <p className="quiet">Nothing has happened yet.</p>
  return (
    <ol className="events" data-testid={testId}>
      {entries.map(({ id, text }) => (
        <li key={id}>
          <time>{id}</time>
          <span>{text}</span>
        </li>
      ))}
    </ol>
  )
}

function withEntry(before: readonly Entry[], entry: Entry): readonly Entry[] {
  return [entry, ...before.filter(({ id }) => id !== entry.id)].slice(0, MOST)
}

/** One line about an event of the example API. */
function describe(type: string, data: unknown): string {
  const { item, text } = data as { item?: string; text?: string }
  if (type === 'order') return `Ordered: ${item ?? ''}`
  return type === 'cancellation' ? `Cancelled: ${item ?? ''}` : `Note: ${text ?? ''}`
}
