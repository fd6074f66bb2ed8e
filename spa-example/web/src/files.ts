import { createCapabilities, type Capabilities } from '@token-handler/client/capabilities'
import { client } from './session.ts'

/** Credentials for the storage, in memory only. */
export const capabilities: Capabilities = createCapabilities(client)

export interface SentFile {
  readonly name: string
  readonly bytes: number
  readonly at: Date
}

let files: readonly SentFile[] = []
const listeners = new Set<() => void>()

function change(next: readonly SentFile[]): void {
  files = next
  for (const listener of listeners) listener()
}

/** What this page has sent, newest first; over with the session, for the next one may be another user's. */
export function sentFiles(): readonly SentFile[] {
  return files
}

export function addSentFile(file: SentFile): void {
  change([file, ...files.filter(({ name }) => name !== file.name)])
}

export function onSentFiles(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

client.on('session', ({ session, reason }) => {
  if (!session.isLoggedIn || reason === 'login') change([])
})
