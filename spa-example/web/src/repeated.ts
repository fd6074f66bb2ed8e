import { repeatCall, type RepeatedCall } from '@token-handler/client/step-up'
import { client } from './session.ts'

/** The call that led to a stronger login, repeated when this page was loaded; undefined when there was none. */
export const repeated: Promise<RepeatedCall | undefined> = repeatCall(client)
// Whoever shows the result hears of a failure; until then it is no failure of the page.
repeated.catch(() => undefined)
