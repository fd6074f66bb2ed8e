import base from '../../jest.config.mjs'

/** Tests that need programs of the operating system; `npm run test:system` installs them first. */
export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/tests/system/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
}
