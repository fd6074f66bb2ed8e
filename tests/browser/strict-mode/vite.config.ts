import { defineConfig, type UserConfig } from 'vite'

const config: UserConfig = defineConfig({
  root: import.meta.dirname,
  build: { modulePreload: { polyfill: false }, rolldownOptions: { input: ['index.html', 'callback.html'] } },
})

export default config
