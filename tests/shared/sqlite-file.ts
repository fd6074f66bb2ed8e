import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configSchema, type LedgerConfig } from '@token-handler/shared'

/** A place for the file of one ledger. */
export interface TemporaryFile {
  readonly path: string
  /** Removes the ledger's file, as an operator does who forgets what else lies beside it. */
  remove(): void
  removeFolder(): void
}

export function temporaryFile(): TemporaryFile {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-'))
  const path = join(folder, 'ledger.db')
  return {
    path,
    remove: () => rmSync(path, { force: true }),
    removeFolder: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export function sqliteConfig(path: string): LedgerConfig {
  return {
    ledger: configSchema.shape.ledger.parse({ type: 'sqlite', file: path }),
    authorization_server: { issuer: 'https://as.example.test', client_id: 'client' },
    session: { absolute_seconds: 43_200, idle_seconds: 3600, access_cookie_seconds: 900, access_token_seconds: 300 },
  }
}
