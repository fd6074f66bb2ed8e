import { runCallbackPage } from '../src/callback-page.ts'

const { agentUrl, returnTo } = document.documentElement.dataset
await runCallbackPage({
  ...(agentUrl === undefined ? {} : { agentUrl }),
  ...(returnTo === undefined ? {} : { defaultReturnTo: returnTo }),
})
