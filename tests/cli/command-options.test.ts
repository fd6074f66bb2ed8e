import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { refuseOtherOptions } from '../../cli/src/command-options.ts'
import { workingFolder, type WorkingFolder } from './command-line.ts'

let folder: WorkingFolder
beforeEach(() => {
  folder = workingFolder()
})
afterEach(() => folder.remove())

/** Every command of the usage text, such as `keys list`, with the options that it is shown with. */
async function commandsInUsage(): Promise<{ command: string; args: string[]; shown: string[] }[]> {
  const { stdout } = await folder.run(['--help'])
  // A command's options may go on in the next line; sentences have two spaces before them, or a line of their own.
  return stdout
    .split(/\n(?=  token-handler )/)
    .slice(1)
    .filter((text) => !text.includes('token-handler --version'))
    .map((text) => {
      const [synopsis = ''] = text.trim().split(/(?<=\S) {2,}|\n {40,}/)
      const words = synopsis.split(/\s+/).slice(1)
      const end = words.findIndex((word) => !/^[a-z]+$/.test(word))
      const args = end < 0 ? words : words.slice(0, end)
      return { command: args.join(' '), args, shown: [...synopsis.matchAll(/--([a-z-]+)/g)].map(([, name]) => name!) }
    })
}

/** All that the command line knows, but for what any command may be given. */
function everyOption(): string[] {
  const main = readFileSync(join(import.meta.dirname, '../../cli/src/main.ts'), 'utf8')
  const names = [...main.matchAll(/^  '?([a-z-]+)'?: \{ type: /gm)].map(([, name]) => name!)
  return names.filter((name) => !['config', 'help', 'version'].includes(name))
}

describe('an option that a command does not take', () => {
  it('is every option that the usage does not show with it', async () => {
    const commands = await commandsInUsage()
    expect(commands.map(({ command }) => command)).toEqual([
      'start',
      'check',
      'keys generate',
      'keys list',
      'keys export',
      'keys add',
      'keys activate',
      'keys retire',
      'sessions',
      'revoke',
      'audit verify',
      'audit export',
      'audit erase',
      'schema',
    ])
    const refusal = (args: readonly string[], name: string): string | undefined => {
      try {
        refuseOtherOptions(args, { config: 'token-handler.yaml', [name]: 'given' })
        return undefined
      } catch (error) {
        return (error as Error).message
      }
    }
    const names = everyOption()
    expect(names.length).toBeGreaterThan(15)
    for (const { command, args, shown } of commands) {
      const others = names.filter((name) => !shown.includes(name))
      expect(names.flatMap((name) => refusal(args, name) ?? [])).toEqual(
        others.map((name) => `${command} takes no --${name}`),
      )
    }
  })

  it.each([
    [['audit', 'erase', '--sub', 'demo', '--dry-run'], 'audit erase takes no --dry-run'],
    [['keys', 'activate', 'KID', '--dry-run'], 'keys activate takes no --dry-run'],
    [['keys', 'generate', '--file', 'keys.json'], 'keys generate takes no --file'],
    [['keys', 'export', '--purpose', 'access-token', '--file', 'export.json'], 'keys export takes no --file'],
    [['schema', '--config', 'other.yaml', '--all', '--json'], 'schema takes no --all, --json'],
    [['revoke', '--all', '--head=', '--file='], 'revoke takes no --head, --file'],
  ])('is one that would not have done what was meant: %j', async (args, why) => {
    const { code, stdout, stderr } = await folder.run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(`token-handler: ${why}\n`)
  })
})
