import { createMemoryLedger } from '@token-handler/shared'
import { describeLedger } from './ledger-contract.ts'

describeLedger('memory', async (clock) => ({
  ledger: createMemoryLedger(clock),
  // A new process knows nothing of the sessions of the one before.
  lose: async () => createMemoryLedger(clock),
  close: async () => undefined,
}))
