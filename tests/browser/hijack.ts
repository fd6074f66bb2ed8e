import type { Page } from 'playwright-core'

/** What became of the attempts of one page. */
export interface HijackOutcome {
  /** Close codes; 1006 is a handshake that was refused. `open` or `message` where one was not. */
  readonly webSockets: readonly unknown[]
  readonly eventSources: readonly string[]
}

export const refusedEverywhere: HijackOutcome = { webSockets: [1006, 1006], eventSources: ['refused', 'refused'] }

/** From a page, tries every kind of stream that a browser opens without asking first, at agent and proxy of another origin. */
export async function tryToHijack(page: Page, backendUrl: string): Promise<HijackOutcome> {
  const webSockets: unknown[] = []
  for (const protocols of [[], ['feed.v1']]) {
    const outcome = await page.evaluate(
      ([url, offered]) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url, offered)
          socket.addEventListener('open', () => resolve('open'))
          socket.addEventListener('message', () => resolve('message'))
          socket.addEventListener('close', ({ code }) => resolve(code))
        }),
      [`${backendUrl.replace('http', 'ws')}/api/feed`, protocols] as const,
    )
    webSockets.push(outcome)
  }
  const eventSources: string[] = []
  for (const withCredentials of [true, false]) {
    const outcome = await page.evaluate(
      ([url, credentials]) =>
        new Promise<string>((resolve) => {
          const source = new EventSource(url, { withCredentials: credentials })
          source.addEventListener('open', () => resolve('open'))
          source.addEventListener('error', () =>
            resolve(source.readyState === EventSource.CLOSED ? 'refused' : 'again'),
          )
        }),
      [`${backendUrl}/api/events`, withCredentials] as const,
    )
    eventSources.push(outcome)
  }
  return { webSockets, eventSources }
}
