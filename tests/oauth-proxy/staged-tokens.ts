import { createSecretKey, randomBytes } from 'node:crypto'
import { sealUnder, type Ledger } from '@token-handler/shared'
import type { SessionKit, TestSession } from '../support/session-cookies.ts'

type Read = Awaited<ReturnType<Ledger['readToken']>>

/** A session whose access token the ledger holds. */
export interface HeldSession extends TestSession {
  readonly ref: string
  readonly bearer: string
}

/** The ledger's part that holds access tokens, answering as a test says. */
export class StagedTokens implements Pick<Ledger, 'readToken'> {
  /** References that were asked for. */
  readonly asked: string[] = []
  answer: (sid: string, reference: string) => Read | Promise<Read> = () => ({ state: 'absent' })

  async readToken(sid: string, reference: string): Promise<Read> {
    this.asked.push(reference)
    return this.answer(sid, reference)
  }

  /** A new session, whose token it answers with from now on. */
  session(kit: SessionKit, size = 20_000): HeldSession {
    const [key, ref] = [randomBytes(32), randomBytes(16).toString('base64url')]
    const bearer = `canary-${'x'.repeat(size)}`
    const sealed = sealUnder(createSecretKey(key), bearer)
    const session = kit.session({ at: undefined, held: { ref, k: key.toString('base64url') } })
    this.answer = (sid, reference) =>
      sid === session.sid && reference === ref ? { state: 'found', sealed } : { state: 'absent' }
    return { ...session, ref, bearer }
  }

  /** Keeps back what it answers. @returns what lets it go. */
  hold(): () => void {
    const found = this.answer
    const gate = Promise.withResolvers<void>()
    this.answer = async (...about) => {
      await gate.promise
      return found(...about)
    }
    return gate.resolve
  }
}
