#!/usr/bin/env node
// What main.ts loads is not in older releases of Node.js, which would answer with a stack trace: this looks first.
const { node: version } = process.versions
const [major = 0, minor = 0] = version.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 11)) {
  process.stderr.write(
    `token-handler: needs Node.js 24.11 or newer of that line, or 26 or newer; this is ${version} (${process.execPath})\n`,
  )
  process.exitCode = 1
} else await import('./main.ts')
