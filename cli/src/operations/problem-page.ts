import type { BrowserSession } from './browser-sessions.ts'
import { frame } from './frame.ts'
import { html } from './html.ts'

export function problemPage(text: string, session?: BrowserSession): string {
  const content = html`<section class="narrow">
    <p class="card problem" role="alert">${text}</p>
    <a class="button" href="/operations">Back to operations</a>
  </section>`
  return frame('Problem', content, session)
}
