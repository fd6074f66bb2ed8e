import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  checkConfig,
  createMemoryLedger,
  generateKeyFile,
  identityHash,
  systemClock,
  type Clock,
  type Ledger,
  type SessionIdentity,
} from '@token-handler/shared'
import { fixedKeys } from '../../cli/src/key-ring-file.ts'
import { startTokenHandler, type RunningTokenHandler } from '../../cli/src/token-handler.ts'
import { configured } from '../shared/configuration.ts'
import { randomSid } from '../shared/ledger-session.ts'
import { keptAudit, type KeptAudit } from '../support/kept-audit.ts'
import { keptLog, type KeptLog } from '../support/kept-log.ts'

export const issuer = 'http://127.0.0.1:9'
export const clientId = 'spa'
/** Two keys, so that it matters whose was shown. */
export const adminKeys = { alice: 'a'.repeat(20) + '-key-of-alice', 'on-call': 'b'.repeat(20) + '-key-of-on-call' }

export interface AdminAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Readonly<Record<string, unknown>>
}

/** A Token Handler whose admin listener is asked. */
export interface AdminUnderTest {
  readonly running: RunningTokenHandler
  readonly ledger: Ledger
  readonly audit: KeptAudit
  readonly log: KeptLog
  readonly kid: string
  readonly adminUrl: string
  readonly publicUrl: string
  /** One call with the key of alice, unless other headers are given. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<AdminAnswer>
  /** A session that is live. */
  session(facts?: Partial<SessionIdentity> & { readonly sub?: string }): Promise<SessionIdentity>
  close(): Promise<void>
}

export async function startAdmin({
  admin = { port: 0, keys: adminKeys },
  ledger = createMemoryLedger(systemClock, { clientHash: identityHash(issuer, clientId) }),
  clock = systemClock,
}: { admin?: Readonly<Record<string, unknown>>; ledger?: Ledger; clock?: Clock } = {}): Promise<AdminUnderTest> {
  const keyFile = generateKeyFile(new Date())
  const audit = keptAudit()
  const log = keptLog()
  const running = await startTokenHandler({
    config: checkConfig(
      configured({
        public_url: 'http://localhost:3000',
        listen: { port: 0 },
        admin,
        shutdown_seconds: 0,
        authorization_server: { issuer, client_id: clientId, redirect_uri: 'http://localhost:3000/callback' },
        ledger: { type: 'memory' },
      }),
    ),
    keys: fixedKeys(keyFile, { issuer, clientId }),
    logger: log.logger,
    audit,
    ledger,
    clock,
  })
  const adminUrl = urlOf(running.adminServer!)
  return {
    running,
    ledger,
    audit,
    log,
    kid: keyFile.keys[0]!.kid,
    adminUrl,
    publicUrl: urlOf(running.server),
    call: (method, path, body, headers = { authorization: `Bearer ${adminKeys.alice}` }) =>
      request(`${adminUrl}${path}`, method, body, headers),
    async session({ sub = 'user-1', ...facts } = {}) {
      const sid = randomSid()
      const begun = await ledger.begin(sid, { absoluteSeconds: 43_200, idleSeconds: 3600 })
      if (begun.state !== 'begun') throw new Error('no ledger')
      const subjectHash = identityHash(issuer, sub)
      const identity = { sid, startedAt: begun.startedAt, subjectHash, ...facts }
      await ledger.complete(identity)
      return identity
    },
    close: () => running.close(),
  }
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** @param body Text as it is, anything else as JSON. */
export async function request(
  url: string,
  method: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<AdminAnswer> {
  const answer = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await answer.text()
  const isJson = answer.headers.get('content-type') === 'application/json' && text !== ''
  return {
    status: answer.status,
    headers: answer.headers,
    text,
    json: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
  }
}
