import react from '@vitejs/plugin-react'
import { build, defineConfig, type InlineConfig, type Plugin, type UserConfig } from 'vite'

const common = {
  root: import.meta.dirname,
  base: '/',
  // The workspaces resolve to their sources: the demo needs no build of the library first.
  resolve: { conditions: ['module', 'browser', 'token-handler-source'] },
} satisfies InlineConfig

/** Nothing inline, so that the pages live under a Content Security Policy without exceptions. */
const output = { assetsInlineLimit: 0, modulePreload: { polyfill: false } } as const

/**
 * Builds callback.html after the app, as a module graph of its own: two inputs of one build would share chunks, and the
 * callback page must run nothing but its own file.
 */
function callbackPage(): Plugin {
  let outDir = 'dist'
  return {
    name: 'callback-page',
    apply: 'build',
    configResolved(resolved) {
      outDir = resolved.build.outDir
    },
    async writeBundle() {
      await build({
        ...common,
        configFile: false,
        publicDir: false,
        logLevel: 'warn',
        build: { ...output, outDir, emptyOutDir: false, rolldownOptions: { input: 'callback.html' } },
      })
    },
  }
}

const config: UserConfig = defineConfig({
  ...common,
  plugins: [react(), callbackPage()],
  build: { ...output, emptyOutDir: true, rolldownOptions: { input: 'index.html' } },
})

export default config
