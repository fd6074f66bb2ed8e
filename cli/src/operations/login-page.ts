import { frame } from './frame.ts'
import { html } from './html.ts'

/** Takes an admin key once. The key goes into no page, and into no cookie. */
export function loginPage(problem?: string): string {
  const content = html`<section class="narrow">
    <h2>Sign in</h2>
    ${problem === undefined ? undefined : html`<p class="card problem" role="alert" id="problem">${problem}</p>`}
    <form method="post" action="/operations/login" class="row">
      <label for="key"
        >Admin key <span>One of <code>admin.keys</code>. It is asked for again after 30 minutes.</span></label
      >
      <input
        id="key"
        name="key"
        type="password"
        autocomplete="current-password"
        required
        autofocus
        maxlength="1024"
        ${problem === undefined ? undefined : html`aria-invalid="true" aria-describedby="problem"`}
      />
      <button class="primary">Sign in</button>
    </form>
  </section>`
  return frame('Sign in', content)
}
