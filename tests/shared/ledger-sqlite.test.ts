import { openSqliteLedger, silentLogger } from '@token-handler/shared'
import { describeLedger } from './ledger-contract.ts'
import { temporaryFile } from './sqlite-file.ts'

describeLedger('sqlite', async (clock) => {
  const file = temporaryFile()
  const ledger = await openSqliteLedger({ path: file.path, clock, logger: silentLogger })
  return {
    ledger,
    // The same process goes on, and has to notice.
    async lose() {
      file.remove()
      await ledger.holds('any', 'lease')
      return ledger
    },
    async close() {
      await ledger.close()
      file.removeFolder()
    },
  }
})
