import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pages = globSync('**/*.md', { cwd: root, exclude: ['**/node_modules/**', '**/dist/**'] })

/** As GitHub makes them of headings. */
function anchorsOf(file: string): Set<string> {
  const headings = readFileSync(file, 'utf8').matchAll(/^#{1,6} (.+)$/gm)
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\- _]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** Links into the repository, with the page that they stand on. */
const links = pages.flatMap((page) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => ({ page, target }))
    .filter(({ target }) => !/^[a-z]+:/.test(target)),
)

describe('links of the documentation', () => {
  it('lead to files that are there', () => {
    expect(links.length).toBeGreaterThan(100)
    const broken = links.filter(({ page, target }) => {
      const [path = ''] = target.split('#', 1)
      return path !== '' && !existsSync(resolve(root, dirname(page), path))
    })
    expect(broken).toEqual([])
  })

  it('lead to headings that are there', () => {
    const broken = links.filter(({ page, target }) => {
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? join(root, page) : resolve(root, dirname(page), path)
      return anchor !== undefined && file.endsWith('.md') && existsSync(file) && !anchorsOf(file).has(anchor)
    })
    expect(broken).toEqual([])
  })
})
