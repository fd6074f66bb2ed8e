import { generateKeyFile, type KeyFile } from '@token-handler/shared'
import { Canaries, findJwts } from '../support/canary.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { ScriptedAuthorizationServer } from '../support/scripted-authorization-server.ts'
import { startAgent, type AgentAnswer, type AgentSetup, type Browser, type RunningAgent } from './running-agent.ts'

/** An agent whose authorization server does what the test says; both live on one staged clock. */
export interface Scripted {
  readonly server: ScriptedAuthorizationServer
  readonly agent: RunningAgent
  readonly clock: FakeClock
  /** The agent's keys, for a second replica. */
  readonly keys: KeyFile
  /** Starts a login and lets the user finish it: the answer to login/end, and the callback that led to it. */
  logIn(browser: Browser, fields?: Record<string, string>): Promise<{ answer: AgentAnswer; callback: URL }>
  /** A browser that is logged in. */
  loggedIn(): Promise<Browser>
  /** Starts a login and returns the authorization response, not yet posted. */
  callback(browser: Browser, fields?: Record<string, string>): Promise<URL>
  /** Where secrets were found that must not be there: in answers and in the log. */
  leaks(...answers: readonly AgentAnswer[]): unknown[]
  close(): Promise<void>
}

/** What a test may decide; the clock is staged. */
export interface ScriptedSetup extends Partial<AgentSetup> {
  readonly clock?: FakeClock
}

export async function startScripted(setup: ScriptedSetup = {}): Promise<Scripted> {
  const { clock = fakeClock() } = setup
  const keys = setup.keys ?? generateKeyFile(new Date())
  const server = await ScriptedAuthorizationServer.start(clock)
  const agent = await startAgent({
    issuer: server.issuer,
    clientId: server.clientId,
    clientAuthentication: { method: 'client_secret_basic', clientSecret: server.clientSecret },
    ...setup,
    clock,
    keys,
    authorizationServer: { timeoutSeconds: 2, ...setup.authorizationServer },
  }).catch(async (error: unknown) => {
    await server.close()
    throw error
  })

  async function callback(browser: Browser, fields?: Record<string, string>): Promise<URL> {
    const started = await browser.post('login/start', fields)
    if (started.status !== 200) throw new Error(`login/start: ${started.status} ${started.text}`)
    return server.authorize(String(started.json['authorization_url']))
  }

  async function logIn(
    browser: Browser,
    fields?: Record<string, string>,
  ): Promise<{ answer: AgentAnswer; callback: URL }> {
    const response = await callback(browser, fields)
    return { answer: await browser.post('login/end', response.searchParams), callback: response }
  }

  return {
    server,
    agent,
    clock,
    keys,
    callback,
    logIn,
    async loggedIn() {
      const browser = agent.browser()
      const { answer } = await logIn(browser)
      if (answer.status !== 200) throw new Error(`login/end: ${answer.status} ${answer.text}\n${agent.log()}`)
      return browser
    },
    leaks(...answers) {
      const canaries = new Canaries()
      for (const secret of [...server.issued, server.clientSecret]) canaries.watch(secret.slice(0, 14), secret)
      const seen = answers.map(({ text, headers }) => [text, headers])
      return [...canaries.find(seen, agent.log()), ...findJwts(seen, agent.log())]
    },
    async close() {
      await agent.close()
      await server.close()
    },
  }
}
