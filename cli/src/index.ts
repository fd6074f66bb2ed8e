export { fixedKeys, watchKeyFile, type KeyRingSource } from './key-ring-file.ts'
export { startTokenHandler, type RunningTokenHandler, type TokenHandlerDeps } from './token-handler.ts'
