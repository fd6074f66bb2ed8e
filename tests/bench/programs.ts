import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const searchPath = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin']

/** Where a program of the operating system is, or `undefined` when it is not installed. */
export function findProgram(name: string): string | undefined {
  return searchPath.map((folder) => join(folder, name)).find((file) => existsSync(file))
}
