import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from '@jest/globals'
import { describeGateway } from './gateway-contract.ts'
import { startProgram, withPorts } from './gateway-program.ts'

const recipe = readFileSync(join(import.meta.dirname, '../../deploy/caddy/Caddyfile'), 'utf8')
/** Caddy's own administration has a fixed port. */
const global = '{\n\tadmin off\n}\n'

describe('Caddy with our recipe', () => {
  describeGateway('caddy', (ports) =>
    startProgram(['caddy', 'run', '--config', 'Caddyfile', '--adapter', 'caddyfile'], {
      ports,
      files: { Caddyfile: global + withPorts(recipe, ports) },
    }),
  )
})
