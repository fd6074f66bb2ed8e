import { createHash, randomBytes } from 'node:crypto'
import { identityHash } from '../session-cookies.ts'
import type { AuditDetails, AuditEvent } from './events.ts'
import type { AuditKey } from './keys.ts'
import { networkPrefix } from './network.ts'
import type { AuditRecord, AuditWho } from './schema.ts'

/** What a record says before it is chained. */
export type RecordBody = Omit<AuditRecord, 'chain' | 'n' | 'who_hash' | 'erased' | 'hash'>

export interface RecordContext {
  readonly issuer: string
  readonly clientId: string
  /** Write the subject itself too. */
  readonly isSubjectClear: boolean
}

const longestText = 256
const longestScope = 1024

/** Turns what a caller gave into what may be written. Whatever has not the form that its member asks for is left out. */
export function buildRecord(event: AuditEvent, at: number, key: AuditKey, context: RecordContext): RecordBody {
  const who = buildWho(event, key, context)
  const details = event.details && buildDetails(event.details)
  return {
    v: 1,
    type: 'audit',
    time: new Date(at).toISOString(),
    event: event.event,
    outcome: event.outcome,
    ...present('reason', wordOf(event.reason)),
    ...present('client', textOf(event.client ?? context.clientId)),
    ...present('scopes', event.scope?.slice(0, longestScope).split(' ').filter(Boolean)),
    ...present('route', textOf(event.route)),
    ...present('method', wordOf(event.method)),
    ...present('status', event.status),
    ...present('capability', textOf(event.capability)),
    ...present('actor', textOf(event.actor)),
    ...present('target', wordOf(event.target)),
    ...present('details', details),
    ...present('who', who),
  }
}

/** Hash that stands for a session. The id is random, so nobody can find it by trying. */
export function sidHash(sid: string): string {
  return createHash('sha256').update(sid).digest().subarray(0, 16).toString('base64url')
}

function buildWho(event: AuditEvent, key: AuditKey, { issuer, isSubjectClear }: RecordContext): AuditWho | undefined {
  const { subject, sid, address, correlationId } = event
  const subjectHash = subject === undefined ? event.subjectHash : identityHash(issuer, subject)
  const who = {
    ...present('subject', subjectHash === undefined ? undefined : key.pseudonymOf(subjectHash)),
    ...present('sub', isSubjectClear ? textOf(subject) : undefined),
    ...present('sid', sid === undefined ? undefined : sidHash(sid)),
    ...present('address', networkPrefix(address)),
    ...present('id', wordOf(correlationId)),
  }
  // Without it, whoever has the key could find out an erased subject by trying.
  return Object.keys(who).length === 0 ? undefined : { ...who, salt: randomBytes(12).toString('base64url') }
}

function buildDetails(details: AuditDetails): RecordBody['details'] {
  const checked = Object.entries(details).flatMap(
    ([name, value]: [string, unknown]): (readonly [string, unknown])[] => {
      if (typeof value === 'string') return [[name, textOf(value)]]
      if (Array.isArray(value))
        return [[name, value.slice(0, name === 'amr' ? 16 : 64).map((one) => textOf(String(one)))]]
      if (typeof value === 'number') return [[name, Math.round(value)]]
      return typeof value === 'boolean' ? [[name, value]] : []
    },
  )
  return checked.length === 0 ? undefined : Object.fromEntries(checked)
}

function wordOf(value: string | undefined): string | undefined {
  return value !== undefined && /^[\w.:-]{1,64}$/.test(value) ? value : undefined
}

function textOf(value: string | undefined): string | undefined {
  return value?.slice(0, longestText)
}

function present<Name extends string, Value>(name: Name, value: Value | undefined): { [name in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { [name in Name]?: Value }
}
