export { fixedKeys, watchKeyFile, type KeyRingSource } from './key-ring-file.ts'
export { createPublicServer } from './public-server.ts'
export { createSpaHandler, withAgentUrl, type SpaOptions } from './spa.ts'
export { startTokenHandler, type RunningTokenHandler, type TokenHandlerDeps } from './token-handler.ts'
