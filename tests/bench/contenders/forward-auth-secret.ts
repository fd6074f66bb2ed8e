/** Both sides of the benchmark know it; it protects nothing. */
export const forwardAuthSecret = 'not-a-secret-but-long-enough-for-one'
