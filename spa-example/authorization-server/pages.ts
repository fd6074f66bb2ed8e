import { createHash } from 'node:crypto'

/** An HTML document and the response headers that belong to it. */
export interface Page {
  html: string
  headers: Record<string, string>
}

const CSS = `
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5b6675;--line:#d5dbe3;--paper:#fff;--ground:#eef1f5;--accent:#2456c7}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#9aa6b6;--line:#394454;--paper:#1c232d;--ground:#12171e;--accent:#7aa2ff}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:min(24rem,92vw);padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:14px;box-shadow:0 10px 30px rgb(0 0 0/.08)}
h1{margin:0 0 .25rem;font-size:1.4rem}
p{margin:.25rem 0 1rem;color:var(--soft)}
label{display:block;margin:.9rem 0 0;font-weight:600}
input{display:block;width:100%;margin-top:.3rem;padding:.6rem .7rem;border:1px solid var(--line);border-radius:8px;background:transparent;color:inherit;font:inherit;font-weight:400}
button{width:100%;margin-top:1.25rem;padding:.7rem;border:1px solid var(--accent);border-radius:8px;background:var(--accent);color:var(--paper);font:inherit;font-weight:600;cursor:pointer}
button.quiet{margin-top:.6rem;background:transparent;color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.error{padding:.6rem .8rem;border-left:4px solid #c0392b;background:rgb(192 57 43/.1);color:inherit}
ul{padding-left:1.2rem}
footer{margin-top:1.5rem;font-size:.8rem;color:var(--soft)}
`

const STYLE_HASH = `'sha256-${createHash('sha256').update(CSS).digest('base64')}'`

/**
 * The sign-in form: fields `login` and `password`.
 * @param options.error Shown above the form after a failed try.
 * @param options.returnUri Where the flow ends; the page may submit to a chain of redirects that leads there.
 */
export function loginPage(options: {
  action: string
  client: string
  returnUri: string
  login?: string
  error?: string
}): Page {
  const { action, client, returnUri, login = '', error } = options
  return page(
    'Sign in',
    `<p>to continue to <strong>${escape(client)}</strong></p>
${error === undefined ? '' : `<p class="error" role="alert">${escape(error)}</p>`}
<form method="post" action="${escape(action)}">
<label>User name <input name="login" value="${escape(login)}" autocomplete="username" required${login === '' ? ' autofocus' : ''}></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required${login === '' ? '' : ' autofocus'}></label>
<button type="submit">Sign in</button>
</form>
${cancelForm(action)}`,
    returnUri,
  )
}

/** The second step of a sign-in with a stronger authentication context: one button. */
export function confirmPage(options: { action: string; client: string; returnUri: string }): Page {
  const { action, client, returnUri } = options
  return page(
    'Confirm that it is you',
    `<p><strong>${escape(client)}</strong> asks for a second factor. A real authorization server would ask for a passkey here.</p>
<form method="post" action="${escape(action)}">
<button type="submit">Confirm</button>
</form>
${cancelForm(action)}`,
    returnUri,
  )
}

/** Asks the user to agree to the scopes. */
export function consentPage(options: {
  action: string
  client: string
  returnUri: string
  scopes: readonly string[]
}): Page {
  const { action, client, returnUri, scopes } = options
  return page(
    'Allow access?',
    `<p><strong>${escape(client)}</strong> asks for:</p>
<ul>${scopes.map((scope) => `<li>${escape(scope)}</li>`).join('')}</ul>
<form method="post" action="${escape(action)}">
<button type="submit">Allow</button>
</form>
${cancelForm(action)}`,
    returnUri,
  )
}

/**
 * Asks before signing out, as OpenID Connect RP-Initiated Logout 1.0 section 2 wants it.
 * @param options.form oidc-provider's form, which carries its CSRF secret; the answer is added to it.
 */
export function logoutPage(options: { form: string; returnUri: string | undefined }): Page {
  const answer =
    '<input type="hidden" name="logout" value="yes"><button type="submit" autofocus>Sign out</button></form>'
  return page(
    'Sign out?',
    `<p>This ends your session here and in the application.</p>
${options.form.replace('</form>', answer)}`,
    options.returnUri,
  )
}

/** Shown after signing out when the client named no place to return to. */
export function signedOutPage(): Page {
  return page('Signed out', '<p>You can close this window.</p>')
}

/** An error that cannot be sent back to the client (RFC 6749 section 4.1.2.1). */
export function errorPage(options: { error: string; description?: string | undefined }): Page {
  return page(
    'This did not work',
    `<p class="error" role="alert">${escape(options.description ?? 'The request was refused.')}</p>
<p><code>${escape(options.error)}</code></p>`,
  )
}

function cancelForm(action: string): string {
  return `<form method="post" action="${escape(action)}/abort"><button class="quiet" type="submit">Cancel</button></form>`
}

function page(title: string, body: string, returnUri?: string): Page {
  return {
    html: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${CSS}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
${body}
<footer>Demo authorization server: for development and tests only.</footer>
</main>
</body>
</html>
`,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'Content-Security-Policy': [
        "default-src 'none'",
        `style-src ${STYLE_HASH}`,
        "base-uri 'none'",
        "frame-ancestors 'none'",
        // Browsers check this list against every redirect that follows a submitted form.
        `form-action 'self'${originOf(returnUri)}`,
      ].join('; '),
    },
  }
}

function originOf(uri: string | undefined): string {
  const origin = uri === undefined ? undefined : URL.parse(uri)?.origin
  return origin === undefined || origin === 'null' ? '' : ` ${origin}`
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
