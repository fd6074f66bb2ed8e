import { runCallbackPage } from '@token-handler/client/callback-page'

await runCallbackPage()
