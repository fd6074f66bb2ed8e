/**
 * Reads environment variables, and names all that are missing at once.
 * @param defaults What a variable is when it is not set; undefined: it has to be set.
 * @throws Error with the names of the missing ones.
 */
export function readEnvironment<Name extends string>(
  environment: NodeJS.ProcessEnv,
  defaults: Record<Name, string | undefined>,
): Record<Name, string> {
  const names = Object.keys(defaults) as Name[]
  const values = names.map((name) => [name, environment[name] || defaults[name]] as const)
  const missing = values.filter(([, value]) => value === undefined).map(([name]) => name)
  if (missing.length > 0) throw new Error(`missing environment variables: ${missing.join(', ')}`)
  return Object.fromEntries(values) as Record<Name, string>
}

/**
 * Parses a TCP port.
 * @throws Error that names the variable.
 */
export function parsePort(name: string, value: string): number {
  const port = Number(value)
  if (/^\d+$/.test(value) && port <= 65_535) return port
  throw new Error(`${name} is not a port: ${value}`)
}

/** Runs a server until SIGINT or SIGTERM; a failed start is one line and exit code 1. */
export async function runUntilStopped(
  name: string,
  start: () => Promise<{ url: string; close(): Promise<void> }>,
): Promise<void> {
  try {
    const server = await start()
    console.log(`${name} on ${server.url}`)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close())
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
