/** Header names that never pass: exact ones in lower case, and beginnings that end in `*`. */
export type NameList = readonly string[]

/** Names written one after another, in groups. */
export function nameList(...groups: readonly string[]): NameList {
  return groups.flatMap((group) => group.toLowerCase().split(' '))
}

const letters = /^[a-z0-9-]+$/
const maxRemembered = 1024

/**
 * Says of a header name in lower case whether it passes. A name with anything but letters, digits and hyphens never
 * does: servers that turn names into variables (CGI) take `x_user` or `x.user` for `x-user`.
 */
export function createNameFilter(denied: NameList, excepted: NameList = []): (name: string) => boolean {
  const exact = new Set(denied.filter((entry) => !entry.endsWith('*')))
  const beginnings = denied.filter((entry) => entry.endsWith('*')).map((entry) => entry.slice(0, -1))
  const exceptions = new Set(excepted)
  const passes = (name: string): boolean =>
    letters.test(name) &&
    (exceptions.has(name) || (!exact.has(name) && !beginnings.some((beginning) => name.startsWith(beginning))))
  // The same few names come with every request; a look-up costs a tenth of the judgement.
  const judged = new Map<string, boolean>()
  return (name) => {
    let verdict = judged.get(name)
    if (verdict === undefined) {
      verdict = passes(name)
      if (judged.size < maxRemembered && name.length <= 64) judged.set(name, verdict)
    }
    return verdict
  }
}
