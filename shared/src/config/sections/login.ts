import { z } from 'zod'

const context = z
  .string()
  .max(120)
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one value, without spaces, quotes and backslashes')

export const login = z
  .strictObject({
    require: z
      .strictObject({
        acr: z
          .array(context)
          .max(10)
          .default([])
          .describe('Authentication contexts, one of which every login must have reached; asked for as acr_values.'),
        amr: z
          .array(context)
          .max(10)
          .default([])
          .describe('Authentication methods (RFC 8176) that every login must have used, all of them, such as mfa.'),
      })
      .prefault({})
      .describe('A login that is weaker is refused with authentication_too_weak.'),
  })
  .prefault({})
