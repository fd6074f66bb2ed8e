/**
 * No transformer: Jest strips the types itself (with --experimental-vm-modules), and the export condition
 * "token-handler-source" resolves the workspaces to their sources, so that tests need no build.
 */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/tests/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/tests/system/'],
  transform: {},
  extensionsToTreatAsEsm: ['.ts'],
  setupFiles: ['<rootDir>/tests/support/realm.ts'],
  testEnvironmentOptions: { customExportConditions: ['node', 'node-addons', 'token-handler-source'] },
  // Tells a hang from a busy machine.
  testTimeout: 60_000,
  // Most tests wait for sockets and browsers, so both cores of a small machine are of use.
  maxWorkers: 2,
  reporters: ['default', '<rootDir>/tests/support/plain-summary.mjs'],
}
