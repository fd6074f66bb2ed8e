import { createContext, useContext } from 'react'

export interface ProblemContext {
  /** Runs work and shows what goes wrong in the banner. @returns whether it went well */
  readonly attempt: (work: () => Promise<unknown>) => Promise<boolean>
}

export const Problems = createContext<ProblemContext>({ attempt: async () => false })

export function useProblem(): ProblemContext {
  return useContext(Problems)
}
