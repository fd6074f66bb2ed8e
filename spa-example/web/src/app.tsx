import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react'
import { useActivity, type Activity } from './activity.ts'
import { Notice, ProblemBanner } from './parts/banner.tsx'
import { Header } from './parts/header.tsx'
import { Problems, type ProblemContext } from './problem-context.ts'
import { readAnswer, toProblem, type Problem } from './problems.ts'
import { repeated } from './repeated.ts'
import { usePath } from './router.tsx'
import { client, useSession } from './session.ts'
import { Files } from './views/files.tsx'
import { Inspect } from './views/inspect.tsx'
import { Live } from './views/live.tsx'
import { Orders } from './views/orders.tsx'
import { Overview } from './views/overview.tsx'
import { Welcome } from './views/welcome.tsx'

const TITLES: Readonly<Record<string, string>> = {
  '/': 'Overview',
  '/orders': 'Orders',
  '/files': 'Files',
  '/live': 'Live',
  '/inspect': 'Inspect',
}

export function App(): ReactNode {
  const path = usePath()
  const session = useSession()
  const activity = useActivity()
  const [problem, setProblem] = useState<Problem>()
  const problems = useMemo<ProblemContext>(() => {
    const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
      try {
        await work()
        setProblem(undefined)
        return true
      } catch (error) {
        setProblem(toProblem(error))
        return false
      }
    }
    return { attempt }
  }, [])

  useEffect(() => {
    const ask = (): void => void problems.attempt(() => client.session())
    // Back from sleep, from another tab or from the back/forward cache: what is known may be old.
    const askWhenVisible = (): void => {
      if (document.visibilityState === 'visible') ask()
    }
    ask()
    document.addEventListener('visibilitychange', askWhenVisible)
    addEventListener('pageshow', askWhenVisible)
    return () => {
      document.removeEventListener('visibilitychange', askWhenVisible)
      removeEventListener('pageshow', askWhenVisible)
    }
  }, [problems])

  const [confirmed, setConfirmed] = useState<string>()
  useEffect(() => {
    void problems.attempt(async () => {
      const call = await repeated
      if (call === undefined) return
      // Cloned, for React runs effects twice in development.
      await readAnswer(call.response.clone())
      setConfirmed(`${call.method} ${new URL(call.url).pathname}`)
    })
  }, [problems])

  const main = useRef<HTMLElement>(null)
  const firstPath = useRef(path)
  useEffect(() => {
    document.title = `${TITLES[path] ?? 'Not found'} · Token Handler demo`
    // A screen reader hears of the new view; not on the first one, which the browser announces itself.
    if (firstPath.current !== path) {
      main.current?.focus({ preventScroll: true })
      scrollTo(0, 0)
    }
    firstPath.current = path
  }, [path])

  return (
    <Problems value={problems}>
      <Header session={session} />
      <main ref={main} tabIndex={-1}>
        {problem !== undefined && <ProblemBanner problem={problem} onDismiss={() => setProblem(undefined)} />}
        {confirmed !== undefined && (
          <Notice>
            You confirmed that it is you, so your request was repeated: <code data-testid="repeated">{confirmed}</code>
          </Notice>
        )}
        {problem === undefined && session?.isLoggedIn === false && <Farewell last={activity[0]} />}
        {session === undefined ? (
          <p className="loading" data-testid="loading" role="status">
            Asking who is logged in …
          </p>
        ) : (
          <View path={path} isLoggedIn={session.isLoggedIn} activity={activity} />
        )}
      </main>
      <footer>
        <p>
          A demo of the Token Handler. Script on this page can use the session while the page is open; it can never take
          a token away.
        </p>
      </footer>
    </Problems>
  )
}

/** Why the page is suddenly a stranger's, unless it was this tab's own wish. */
function Farewell({ last }: { readonly last: Activity | undefined }): ReactNode {
  if (last?.reason === 'ended') return <Notice>Your session is over. Log in again to go on.</Notice>
  return last?.reason === 'logout' && last.otherTab ? <Notice>You logged out in another tab.</Notice> : null
}

interface ViewProps {
  readonly path: string
  readonly isLoggedIn: boolean
  readonly activity: readonly Activity[]
}

function View({ path, isLoggedIn, activity }: ViewProps): ReactNode {
  switch (path) {
    case '/':
      return isLoggedIn ? <Overview activity={activity} /> : <Welcome />
    case '/orders':
      return <Orders isLoggedIn={isLoggedIn} />
    case '/files':
      return <Files isLoggedIn={isLoggedIn} />
    case '/live':
      return <Live isLoggedIn={isLoggedIn} />
    case '/inspect':
      return <Inspect isLoggedIn={isLoggedIn} />
    default:
      return (
        <section className="lead" data-testid="not-found">
          <h1>There is nothing here</h1>
          <p>
            The address <code>{path}</code> is not one of this demo’s.
          </p>
        </section>
      )
  }
}
