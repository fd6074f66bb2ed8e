import { useCallback, useEffect, useState, type ReactNode } from 'react'
import type { Suspect } from '../inspect/find-tokens.ts'
import { inspect, type Finding, type Inspection } from '../inspect/inspection.ts'
import { Icon } from '../parts/icons.tsx'
import { LoginButton } from '../parts/login-button.tsx'

/** What can JavaScript see? */
export function Inspect({ isLoggedIn }: { readonly isLoggedIn: boolean }): ReactNode {
  const [inspection, setInspection] = useState<Inspection>()
  const run = useCallback(async () => {
    setInspection(undefined)
    setInspection(await inspect())
  }, [])
  useEffect(() => {
    if (isLoggedIn) void run()
    else setInspection(undefined)
  }, [isLoggedIn, run])

  return (
    <div data-testid="inspect-view">
      <section className="lead">
        <h1>What can JavaScript see?</h1>
        <p>
          The script of this page looks for tokens wherever script can look, as injected script would: anything shaped
          like a signed or encrypted JWT, and any long random string. Capabilities are told apart.
        </p>
      </section>
      {!isLoggedIn && (
        <section className="card empty" data-testid="inspect-login">
          <p>Log in first: without a session there is nothing worth looking for.</p>
          <LoginButton testId="login-inspect" />
        </section>
      )}
      {isLoggedIn && inspection === undefined && (
        <p className="loading" role="status">
          Looking …
        </p>
      )}
      {inspection !== undefined && (
        <div data-results>
          <Verdict inspection={inspection} onRepeat={() => void run()} />
          <Findings findings={inspection.findings} />
          <p className="quiet aside">
            What it can do all the same: while this page is open, script in it can call the API as you. That is why the
            demo allows no inline and no foreign script. What it cannot do is take the session elsewhere, or use it
            later.
          </p>
        </div>
      )}
    </div>
  )
}

interface VerdictProps {
  readonly inspection: Inspection
  readonly onRepeat: () => void
}

function Verdict({ inspection: { findings, scannerWorks }, onRepeat }: VerdictProps): ReactNode {
  const suspects = findings.flatMap((finding) => finding.suspects)
  const capabilities = suspects.filter(isCapability).length
  const count = suspects.length - capabilities
  const unread = findings.filter(({ problem }) => problem !== undefined).length
  const isClean = count === 0 && unread === 0 && scannerWorks
  return (
    <section
      className={isClean ? 'verdict clean' : 'verdict'}
      role="status"
      data-testid="inspect-result"
      data-tokens={count}
      data-capabilities={capabilities}
      data-places={findings.length}
      data-unread={unread}
    >
      <span className="seal">
        <Icon name={isClean ? 'check' : 'alert'} />
      </span>
      <div>
        <p className="headline">
          {count === 0 ? 'No token found' : `${count} suspicious ${count === 1 ? 'string' : 'strings'} found`},{' '}
          {findings.length} places searched
        </p>
        {capabilities > 0 && (
          <p className="quiet">
            {capabilities === 1 ? 'One capability is' : `${capabilities} capabilities are`} visible, as intended: a URL
            that opens one object of the storage for a minute. Whoever reads it can use it for that, and for nothing
            else.
          </p>
        )}
        <p className="quiet" data-testid="inspect-selftest" data-works={scannerWorks}>
          {scannerWorks
            ? 'The scanner works: it found a signed, an encrypted and an opaque token that were planted for it.'
            : 'The scanner missed a planted token: its verdict means nothing.'}
        </p>
      </div>
      <button type="button" data-testid="inspect-repeat" onClick={onRepeat}>
        Look again
      </button>
    </section>
  )
}

function Findings({ findings }: { readonly findings: readonly Finding[] }): ReactNode {
  return (
    <section className="card findings">
      <table data-testid="inspect-table">
        <thead>
          <tr>
            <th scope="col">Place</th>
            <th scope="col">What was there</th>
            <th scope="col">Tokens</th>
          </tr>
        </thead>
        <tbody>
          {findings.map((finding) => (
            <tr
              key={finding.place.id}
              data-testid={`inspect-${finding.place.id}`}
              data-tokens={finding.suspects.filter((suspect) => !isCapability(suspect)).length}
              data-characters={finding.text.length}
            >
              <th scope="row">
                {finding.place.name}
                <code>{finding.place.how}</code>
              </th>
              <td className="wide">
                <Seen finding={finding} />
              </td>
              <td>
                <Tokens finding={finding} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Seen({ finding: { text, problem } }: { readonly finding: Finding }): ReactNode {
  if (problem !== undefined) return <span className="bad">could not be read: {problem}</span>
  if (text === '') return <span className="quiet">nothing</span>
  return (
    <details>
      <summary>{text.length.toLocaleString()} characters</summary>
      <pre>{text}</pre>
    </details>
  )
}

function isCapability({ kind }: Suspect): boolean {
  return kind === 'capability'
}

function Tokens({ finding: { suspects, problem } }: { readonly finding: Finding }): ReactNode {
  if (problem !== undefined) return <span className="bad">?</span>
  if (suspects.length > 0 && suspects.every(isCapability)) return <span className="quiet">capability</span>
  if (suspects.length > 0) {
    return <span className="bad">{suspects.map(({ kind, start }) => `${kind} ${start}`).join(', ')}</span>
  }
  return (
    <span className="good">
      <Icon name="check" /> none
    </span>
  )
}
