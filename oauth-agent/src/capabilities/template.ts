import { TokenHandlerError } from '@token-handler/shared'

const placeholder = /\{([A-Za-z0-9_.:-]{1,128})\}/g

/** Most bytes of a value that is put into a key, and of a key (S3: 1,024). */
const maxValueBytes = 255
const maxKeyBytes = 1024

/** Control, format, private and unassigned characters and halves of pairs; joiners belong to writing systems and emoji. */
const strangeCharacters = /(?![\u200C\u200D])[\p{C}\p{Zl}\p{Zp}]/u

/** Names in the braces of a template. */
export function placeholdersOf(template: string): string[] {
  return [...template.matchAll(placeholder)].map(([, name = '']) => name)
}

/**
 * Fills a template of a key or prefix. No value can leave the segment that it stands in.
 * @param inputs What the SPA says, brought to Unicode form NFC.
 * @param claimOf What is known of the user; a value that is not NFC would be another user's in disguise, and is refused.
 * @throws TokenHandlerError `claim_missing`, `invalid_request`
 */
export function fillTemplate(
  template: string,
  inputs: ReadonlyMap<string, string>,
  claimOf: (name: string) => unknown,
): string {
  const filled = template.replace(placeholder, (_, name: string) => {
    const input = inputs.get(name)?.normalize('NFC')
    if (input !== undefined) {
      const problem = valueProblem(input)
      if (problem !== undefined) throw new TokenHandlerError('invalid_request', { detail: `${name} ${problem}.` })
      return input
    }
    const claim = claimOf(name)
    const text = Number.isSafeInteger(claim) ? String(claim) : claim
    if (typeof text !== 'string' || text.normalize('NFC') !== text || valueProblem(text) !== undefined) {
      throw new TokenHandlerError('claim_missing', { detail: `The claim ${name} is missing, or no part of a key.` })
    }
    return text
  })
  // Values that stand side by side could make up what none of them is.
  const isWhole = filled.split('/').every((segment, index, all) => {
    const isEnd = segment === '' && index === all.length - 1 && template.endsWith('/')
    return isEnd || valueProblem(segment, maxKeyBytes) === undefined
  })
  if (!isWhole || Buffer.byteLength(filled) > maxKeyBytes) {
    throw new TokenHandlerError('invalid_request', { detail: 'These values make no key.' })
  }
  return filled
}

/** What is wrong with one segment, or a part of one. `${filename}` would be filled in by the storage (presigned POST). */
function valueProblem(value: string, maxBytes: number = maxValueBytes): string | undefined {
  if (value === '') return 'is empty'
  if (Buffer.byteLength(value) > maxBytes) return `has more than ${maxBytes} bytes`
  if (value === '.' || value === '..') return 'is a dot segment'
  if (/[/\\%]/.test(value)) return 'has a slash, backslash or percent sign'
  if (value.includes('${')) return 'has a dollar sign before a brace'
  if (strangeCharacters.test(value)) return 'has control or invisible characters'
  if (value.trim() !== value) return 'begins or ends with space'
  return undefined
}
