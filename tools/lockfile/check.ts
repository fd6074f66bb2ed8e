/**
 * Fails when the lock file lacks an entry for an optional (usually platform-specific) dependency, or names a download
 * address. npm drops optional packages that it cannot find without a word, and `npm ci` then fails on other machines.
 */
import { readFileSync } from 'node:fs'

interface LockEntry {
  resolved?: string
  link?: boolean
  optionalDependencies?: Record<string, string>
}

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, LockEntry> }

/** Node's resolution: `node_modules` beside the package's files, or in any folder above. */
function isLocked(packagePath: string, name: string): boolean {
  const folders = packagePath === '' ? [] : packagePath.split('/')
  for (let depth = folders.length; depth >= 0; depth--) {
    const candidate = [...folders.slice(0, depth), 'node_modules', name].join('/')
    if (lock.packages[candidate] !== undefined) return true
  }
  return false
}

const problems = Object.entries(lock.packages).flatMap(([path, entry]) => [
  ...Object.keys(entry.optionalDependencies ?? {})
    .filter((name) => !isLocked(path, name))
    .map((name) => `${path || '(root)'} wants ${name}, which the lock file lacks`),
  ...(entry.resolved === undefined || entry.link === true ? [] : [`${path} names a download address`]),
])

if (problems.length > 0) {
  console.error(problems.join('\n'))
  console.error('Remedy: pin a version whose platform packages all exist, then make the lock file from nothing:')
  console.error('  rm -rf node_modules package-lock.json && npm install && rm -rf node_modules && npm ci')
  process.exitCode = 1
} else {
  console.log(`${Object.keys(lock.packages).length} locked packages, none missing`)
}
