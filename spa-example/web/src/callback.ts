import { runCallbackPage } from '@token-handler/client/callback-page'

const { agentUrl } = document.documentElement.dataset
await runCallbackPage(agentUrl === undefined ? {} : { agentUrl })
