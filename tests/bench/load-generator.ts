/** The load generator's process: raw requests made beforehand, so that it costs little and sends the same to everybody. */
import type { Socket } from 'node:net'
import type { KeyFile } from '@token-handler/shared'
import { openIdleStreams, type StreamKind } from './idle-streams.ts'
import { Load, type LatencyResult, type LoadLimits, type LoadResult } from './load.ts'
import { answerParent } from './processes.ts'
import { moveBody, type Direction, type StreamResult } from './stream.ts'
import { prepareRequests, type Traffic } from './traffic.ts'

export type LoadQuestion =
  | { readonly do: 'prepare'; readonly traffic: Traffic; readonly keyFile: KeyFile }
  /** Opens connections and sends each a request, so that whatever is set up for a connection is set up. */
  | { readonly do: 'open'; readonly port: number; readonly traffic: string; readonly connections: number }
  | { readonly do: 'saturate'; readonly limits: LoadLimits }
  | { readonly do: 'pace'; readonly limits: LoadLimits; readonly requestsPerSecond: number }
  | { readonly do: 'close' }
  | {
      readonly do: 'stream'
      readonly port: number
      readonly direction: Direction
      readonly bytes: number
      readonly marks: readonly number[]
      readonly cookies: string
    }
  /** Opens streams and keeps them open. */
  | {
      readonly do: 'hold'
      readonly port: number
      readonly kind: StreamKind
      readonly streams: number
      readonly cookies: readonly string[]
    }
  | { readonly do: 'let_go' }

export type LoadAnswer = LoadResult | LatencyResult | StreamResult | Record<string, never>

const prepared = new Map<string, { readonly requests: readonly Buffer[]; next: number }>()
let held: readonly Socket[] = []
let open: { readonly load: Load; readonly traffic: string } | undefined

async function answerTo(question: LoadQuestion): Promise<LoadAnswer> {
  if (question.do === 'stream') return moveBody(question.port, question.direction, question)
  if (question.do === 'saturate') return opened().saturate(question.limits)
  if (question.do === 'pace') return opened().pace(question.limits, question.requestsPerSecond)
  if (question.do === 'hold') held = await openIdleStreams(question.port, question)
  else if (question.do === 'let_go') for (const socket of held) socket.destroy()
  else if (question.do === 'prepare') {
    prepared.set(question.traffic.name, { requests: prepareRequests(question.traffic, question.keyFile), next: 0 })
  } else if (question.do === 'open') await openLoad(question)
  else closeLoad()
  return {}
}

async function openLoad({ port, traffic, connections }: Extract<LoadQuestion, { do: 'open' }>): Promise<void> {
  const ready = prepared.get(traffic)
  if (ready === undefined) throw new Error(`the traffic ${traffic} was not prepared`)
  const load = await Load.open(port, connections, ready.requests, ready.next)
  open = { load, traffic }
  await load.saturate({ seconds: 0, minRequests: 0 })
}

function closeLoad(): void {
  const ready = prepared.get(open?.traffic ?? '')
  if (ready !== undefined) ready.next = opened().next
  opened().close()
  open = undefined
}

function opened(): Load {
  if (open === undefined) throw new Error('no connections are open')
  return open.load
}

answerParent((question) => answerTo(question as LoadQuestion))
