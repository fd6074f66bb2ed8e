import type { Clock } from '../clock.ts'
import { Chain } from './chain.ts'
import type { AuditEvent } from './events.ts'
import { auditFileName, dayOf, listAuditFiles, pastRetention, placesIn, removeAuditFiles } from './files.ts'
import type { AuditKeys } from './keys.ts'
import { buildRecord, type RecordContext } from './record.ts'
import type { AuditPlace, AuditRecord } from './schema.ts'
import type { AuditSink } from './sink.ts'

export interface PartsDeps {
  readonly context: RecordContext
  readonly files: { readonly folder: string; readonly retentionDays: number } | undefined
  readonly keys: AuditKeys
  readonly sink: AuditSink
  readonly clock: Clock
}

/** The parts of one chain: a new one every day where they are files, and whenever the key changes. */
export interface Parts {
  /** Sees to it that a part is open that may be written to. What failed is begun anew by the next call. */
  prepare(): Promise<void>
  /** Lines of events; to be written before anything else is done here. */
  seal(events: readonly { readonly event: AuditEvent; readonly at: number }[]): string
  /** Writes the end of the part. */
  close(): Promise<void>
  /** The last record. */
  readonly end: AuditPlace | undefined
}

interface OpenPart {
  readonly name: string | undefined
  readonly day: string
}

const mostFilesInRecord = 50

export function createParts({ context, files, keys, sink, clock }: PartsDeps): Parts {
  const chain = new Chain(keys.current())
  let part = 0
  let open: OpenPart | undefined
  /** Steps of a change of parts that are not done yet; each is repeated until it succeeds. */
  const steps: (() => Promise<void>)[] = []

  const own = (event: AuditEvent, log?: AuditRecord['log']): string =>
    chain.seal({
      ...buildRecord(event, clock.now(), chain.key, context),
      ...(log === undefined ? {} : { log }),
    })

  /** Sealed once, however often it has to be written. */
  function writeStep(line: () => string): () => Promise<void> {
    let text: string | undefined
    return () => {
      text ??= line()
      return sink.write(text)
    }
  }

  function planClose(): void {
    if (open !== undefined) steps.push(writeStep(() => own({ event: 'log_closed', outcome: 'success' })))
  }

  function planOpen(): void {
    const day = dayOf(clock.now())
    const name = sink.hasParts ? auditFileName({ day, chain: chain.id, part }) : undefined
    const before = open
    let others: AuditPlace[] = []
    steps.push(
      async () => {
        if (files !== undefined) others = await placesIn(files.folder, chain.id)
        if (name !== undefined) await sink.open(name)
      },
      writeStep(() => {
        const { end } = chain
        const previous = end && { ...(before?.name === undefined ? {} : { file: before.name }), ...end }
        chain.changeKey(keys.current())
        return own(
          { event: 'log_opened', outcome: 'success' },
          {
            kid: chain.key.kid,
            part,
            ...(previous === undefined ? {} : { previous }),
            ...(others.length === 0 ? {} : { others }),
          },
        )
      }),
      async () => {
        open = { name, day }
        part += 1
        if (files !== undefined) await planRemoval(files)
      },
    )
  }

  /** Recorded first: a file that is gone without a record looks as if somebody had taken it. */
  async function planRemoval({ folder, retentionDays }: NonNullable<PartsDeps['files']>): Promise<void> {
    const old = pastRetention(await listAuditFiles(folder), clock.now(), retentionDays)
    for (let index = 0; index < old.length; index += mostFilesInRecord) {
      const some = old.slice(index, index + mostFilesInRecord)
      const details = { files: some.map(({ name }) => name) }
      steps.push(
        writeStep(() => own({ event: 'records_removed', outcome: 'success', details })),
        () => removeAuditFiles(folder, some),
      )
    }
  }

  async function run(): Promise<void> {
    for (let step = steps[0]; step !== undefined; step = steps[0]) {
      await step()
      steps.shift()
    }
  }

  return {
    async prepare() {
      const isOver = open !== undefined && sink.hasParts && open.day !== dayOf(clock.now())
      if (steps.length === 0 && (open === undefined || isOver || keys.current().kid !== chain.key.kid)) {
        planClose()
        planOpen()
      }
      await run()
    },
    seal: (events) => events.map(({ event, at }) => chain.seal(buildRecord(event, at, chain.key, context))).join(''),
    async close() {
      if (steps.length === 0) planClose()
      await run()
      open = undefined
    },
    get end() {
      return chain.end
    },
  }
}
