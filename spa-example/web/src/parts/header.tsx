import type { Session } from '@token-handler/client'
import type { ReactNode } from 'react'
import { useProblem } from '../problem-context.ts'
import { Link } from '../router.tsx'
import { client } from '../session.ts'
import { Mark } from './icons.tsx'
import { LoginButton } from './login-button.tsx'

export function Header({ session }: { readonly session: Session | undefined }): ReactNode {
  const { attempt } = useProblem()
  return (
    <header>
      <div className="bar">
        <Link to="/" className="brand">
          <Mark /> Token Handler
        </Link>
        <nav aria-label="Views">
          <Link to="/" testId="nav-overview">
            Overview
          </Link>
          <Link to="/orders" testId="nav-orders">
            Orders
          </Link>
          <Link to="/files" testId="nav-files">
            Files
          </Link>
          <Link to="/live" testId="nav-live">
            Live
          </Link>
          <Link to="/inspect" testId="nav-inspect">
            Inspect
          </Link>
        </nav>
        <div className="account">
          {session?.isLoggedIn === true && (
            <>
              <span className="user" data-testid="user">
                {displayName(session)}
              </span>
              <button type="button" data-testid="logout" onClick={() => void attempt(() => client.logout())}>
                Log out
              </button>
            </>
          )}
          {session?.isLoggedIn === false && <LoginButton />}
        </div>
      </div>
    </header>
  )
}

/** The friendliest name that the claims hold. */
export function displayName({ idTokenClaims = {} }: Session): string {
  const name = idTokenClaims['name'] ?? idTokenClaims['preferred_username'] ?? idTokenClaims['sub']
  return typeof name === 'string' ? name : 'you'
}
