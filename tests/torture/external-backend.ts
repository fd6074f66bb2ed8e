import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline/promises'
import type { Backend } from './backend.ts'
import type { ExternalServer } from './options.ts'
import type { AnswerRefresh, TokenAnswer } from './refresh-faults.ts'
import { fillInLogin } from './sign-in-form.ts'

/** Headers of a refresh request that are the authorization server's business. */
const passedOn = ['authorization', 'content-type', 'accept', 'dpop']

/**
 * The operator's own authorization server. The agents talk to it directly, except that a module loaded into them sends
 * refresh requests through a relay here, where faults strike.
 */
export async function startExternalBackend(external: ExternalServer): Promise<Backend> {
  let answerRefresh: AnswerRefresh | undefined
  const relay = createServer((req, res) => {
    serve(req, res).catch(() => res.destroy())
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const token = new URLSearchParams(body).get('refresh_token') ?? ''
    const headers = Object.fromEntries(
      passedOn.flatMap((name) => (typeof req.headers[name] === 'string' ? [[name, req.headers[name]]] : [])),
    )
    const process = async (): Promise<TokenAnswer> => {
      const answer = await fetch(String(req.headers['x-torture-target']), { method: 'POST', headers, body })
      const text = await answer.text()
      return { status: answer.status, body: text, next: answer.ok ? nextToken(text, token) : undefined }
    }
    await answerRefresh?.(Number(req.headers['x-torture-agent']), token, res, process)
  }

  const { issuer, clientId, clientSecret, redirectUri, scope, user } = external
  return {
    issuer,
    clientId,
    clientSecret,
    redirectUri,
    settingsOf: () => ({ scope }),
    preload: new URL('agent-preload.ts', import.meta.url).href,
    environmentOf: (agent) => ({
      TORTURE_RELAY: `http://127.0.0.1:${(relay.address() as AddressInfo).port}`,
      TORTURE_AGENT: String(agent),
    }),
    authorize: (url) => (user === undefined ? askOperator(url) : fillInLogin(url, { redirectUri, ...user })),
    answerRefreshes(answer) {
      answerRefresh = answer
    },
    isAlive: undefined,
    async close() {
      const closed = once(relay, 'close')
      relay.close()
      relay.closeAllConnections()
      await closed
    },
  }
}

/** A server that does not rotate may leave the refresh token out (RFC 6749 section 6). */
function nextToken(text: string, used: string): string {
  const { refresh_token: next } = JSON.parse(text) as { refresh_token?: string }
  return next ?? used
}

let asking = Promise.resolve()

/** Login by hand, one after another. */
function askOperator(url: string): Promise<URL> {
  const asked = asking.then(async () => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    try {
      const question = `\nOpen this in a browser, log in, and paste the address you end at:\n${url}\n> `
      return new URL((await terminal.question(question)).trim())
    } finally {
      terminal.close()
    }
  })
  asking = asked.then(
    () => undefined,
    () => undefined,
  )
  return asked
}
