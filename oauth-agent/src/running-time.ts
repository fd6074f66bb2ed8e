/** A stopped process loses one slice of its limit, however long it is stopped. */
const slices = 8

/**
 * Runs `work` with a signal that aborts it after a time in which this process could have read an answer.
 *
 * A process that is stopped for longer than the limit (a suspended machine, a long pause of a container) finds both, the
 * answer and the end of its time, when it goes on. It must take the answer: a refresh token is spent by then, and what
 * came for it is the session.
 * @param seconds The limit.
 * @throws Whatever `work` throws; its signal's reason is a `TimeoutError`, as that of `AbortSignal.timeout`.
 */
export async function withinRunningTime<T>(seconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let left = slices
  const timer = setInterval(
    () => {
      left -= 1
      if (left === 0) controller.abort(new DOMException('The answer did not come in time.', 'TimeoutError'))
    },
    (seconds * 1000) / slices,
  )
  // Whoever waits keeps the process alive, not the limit.
  timer.unref()
  try {
    return await work(controller.signal)
  } finally {
    clearInterval(timer)
  }
}
