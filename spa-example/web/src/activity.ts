import type { SessionChangeReason } from '@token-handler/client'
import { useEffect, useState } from 'react'
import { client } from './session.ts'

/** A change of the session, as the list shows it. */
export interface Activity {
  readonly id: number
  readonly at: Date
  readonly reason: SessionChangeReason
  readonly otherTab: boolean
}

const MOST = 8

/** What happened to the session since this page was opened, newest first. */
export function useActivity(): readonly Activity[] {
  const [activity, setActivity] = useState<readonly Activity[]>([])
  useEffect(
    () =>
      client.on('session', ({ reason, otherTab }) => {
        setActivity((before) =>
          [{ id: (before[0]?.id ?? 0) + 1, at: new Date(), reason, otherTab }, ...before].slice(0, MOST),
        )
      }),
    [],
  )
  return activity
}
