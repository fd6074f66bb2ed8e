import { existsSync } from 'node:fs'
import type { Contender, Surroundings } from './contender.ts'
import { findProgram } from './native-program.ts'

const modules = ['/usr/lib/apache2/modules', '/usr/lib64/httpd/modules']

export async function startModAuthOpenidc(_surroundings: Surroundings): Promise<Contender | undefined> {
  const program = findProgram('apache2') ?? findProgram('httpd')
  const folder = modules.find((path) => existsSync(`${path}/mod_auth_openidc.so`))
  if (program === undefined || folder === undefined) return undefined
  return undefined
}
