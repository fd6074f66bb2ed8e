import type { BrowserSession } from './browser-sessions.ts'
import { html, type Html } from './html.ts'
import { style, styleSource } from './style.ts'

/** No script, no frame around it, nothing from anywhere else; forms go to this listener only. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': `default-src 'none'; style-src ${styleSource}; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'x-frame-options': 'DENY',
  // Not no-referrer: with it browsers send `Origin: null` with forms.
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** The document around `content`. */
export function frame(title: string, content: Html, session?: BrowserSession): string {
  const head = html`<meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="robots" content="noindex" />
    <title>${title} · Token Handler</title>
    <link rel="icon" href="data:," />`
  const body = html`<header>
      <h1>Token Handler operations</h1>
      ${session === undefined ? undefined : signedIn(session)}
    </header>
    <main>${content}</main>`
  // The style stands there byte for byte: the policy names its hash.
  return `<!doctype html>
<html lang="en">
<head>${head.toString()}<style>${style}</style></head>
<body>${body.toString()}</body>
</html>
`
}

function signedIn(session: BrowserSession): Html {
  return html`<p>Signed in as <strong data-testid="actor">${session.actor}</strong></p>
    <form method="post" action="/operations/logout">${tokenField(session)}<button>Sign out</button></form>`
}

/** Every form that changes something has it. */
export function tokenField({ formToken }: BrowserSession): Html {
  return html`<input type="hidden" name="form_token" value="${formToken}" />`
}
