/** Names and values of a Web Storage area, one a line. */
export function readStorage(storage: Storage): string {
  return Object.entries(storage)
    .map(([name, value]) => `${name}: ${String(value)}`)
    .join('\n')
}

/** Every record of every IndexedDB database of this origin. */
export async function readDatabases(): Promise<string> {
  const lines: string[] = []
  for (const { name } of await indexedDB.databases()) {
    if (name === undefined) continue
    const database = await settled(indexedDB.open(name))
    for (const store of database.objectStoreNames) {
      const records = await settled(database.transaction(store).objectStore(store).getAll())
      lines.push(`${name}/${store}: ${JSON.stringify(records)}`)
    }
    database.close()
  }
  return lines.join('\n')
}

/** Addresses and bodies of everything in Cache Storage. */
export async function readCaches(): Promise<string> {
  // Only in secure contexts.
  if (!('caches' in window)) return ''
  const lines: string[] = []
  for (const name of await caches.keys()) {
    const cache = await caches.open(name)
    for (const request of await cache.keys()) {
      const response = await cache.match(request)
      lines.push(`${name}: ${request.url} ${(await response?.text()) ?? ''}`)
    }
  }
  return lines.join('\n')
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result))
    request.addEventListener('error', () => reject(request.error ?? new Error('IndexedDB failed')))
  })
}
