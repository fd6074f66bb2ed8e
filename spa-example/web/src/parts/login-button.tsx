import { useEffect, useState, type ReactNode } from 'react'
import { useProblem } from '../problem-context.ts'
import { client } from '../session.ts'

export function LoginButton({ testId = 'login' }: { readonly testId?: string }): ReactNode {
  const { attempt } = useProblem()
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    // Who goes back from the login may find this very page, as it was left (back/forward cache).
    const comeBack = (): void => setBusy(false)
    addEventListener('pageshow', comeBack)
    return () => removeEventListener('pageshow', comeBack)
  }, [])
  const login = async (): Promise<void> => {
    setBusy(true)
    // When it works the page is left; the button stays busy until then.
    if (!(await attempt(() => client.login()))) setBusy(false)
  }
  return (
    <button type="button" className="primary" data-testid={testId} disabled={busy} onClick={() => void login()}>
      {busy ? 'One moment …' : 'Log in'}
    </button>
  )
}
