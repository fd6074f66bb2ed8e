import { defineConfig, type UserConfig } from 'vite'

/** Makes `dist/callback.js`: the callback page's whole script in one file, to be served as it is. */
const config: UserConfig = defineConfig({
  root: import.meta.dirname,
  logLevel: 'warn',
  build: {
    outDir: '../dist',
    emptyOutDir: false,
    modulePreload: false,
    rolldownOptions: { input: 'callback.ts', output: { entryFileNames: 'callback.js' } },
  },
})

export default config
