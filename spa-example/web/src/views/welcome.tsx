import type { ReactNode } from 'react'
import { Icon } from '../parts/icons.tsx'
import { LoginButton } from '../parts/login-button.tsx'

export function Welcome(): ReactNode {
  return (
    <div className="welcome" data-testid="welcome">
      <section className="lead">
        <h1>Log in here. The tokens stay elsewhere.</h1>
        <p>
          This page is an ordinary single-page application. It logs you in with OpenID Connect and calls an API, and no
          script in it ever holds a token, nor could it find one.
        </p>
        <p className="actions">
          <LoginButton testId="login-welcome" />
          <span className="quiet">
            Demo user <code>demo</code>, password <code>demo</code>
          </span>
        </p>
      </section>
      <ol className="journey" aria-label="What happens to a call">
        <li>
          <Icon name="page" />
          <div>
            <h2>This page</h2>
            <p>
              calls <code>/api/orders</code>. It has no token to add.
            </p>
          </div>
        </li>
        <li>
          <span className="wire">sealed cookie, unreadable here</span>
        </li>
        <li className="sealed">
          <Icon name="shield" />
          <div>
            <h2>Token Handler</h2>
            <p>opens the cookie and checks where the call comes from.</p>
          </div>
        </li>
        <li>
          <span className="wire">Authorization: Bearer …</span>
        </li>
        <li>
          <Icon name="server" />
          <div>
            <h2>API</h2>
            <p>sees a plain access token, as from any client.</p>
          </div>
        </li>
      </ol>
    </div>
  )
}
