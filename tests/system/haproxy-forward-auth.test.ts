import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe } from '@jest/globals'
import { describeGateway } from './gateway-contract.ts'
import { startProgram, withPorts } from './gateway-program.ts'

const recipe = (name: string): string => readFileSync(join(import.meta.dirname, '../../deploy/haproxy', name), 'utf8')

describe('HAProxy with our recipe', () => {
  describeGateway('haproxy', (ports) =>
    startProgram(['haproxy', '-db', '-f', 'haproxy.cfg'], {
      ports,
      files: {
        'haproxy.cfg': withPorts(recipe('haproxy.cfg'), ports),
        'token-handler.lua': recipe('token-handler.lua'),
      },
    }),
  )
})
