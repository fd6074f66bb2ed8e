/** Ends the output with one plain line, `N passed, N failed`, for whoever reads it by machine. */
export default class PlainSummary {
  onRunComplete(_contexts, { numPassedTests, numFailedTests, numRuntimeErrorTestSuites }) {
    console.log(`${numPassedTests} passed, ${numFailedTests + numRuntimeErrorTestSuites} failed`)
  }
}
