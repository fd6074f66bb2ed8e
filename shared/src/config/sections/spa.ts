import { z } from 'zod'
import { origin } from './values.ts'

export const spa = z
  .union(
    [
      z.strictObject({
        root: z.string().min(1).describe('Folder of the built SPA, with index.html and callback.html.'),
      }),
      z.strictObject({
        dev_server: origin.describe('Development server on this machine, such as http://localhost:5173 for Vite.'),
      }),
    ],
    { error: 'takes either root (a folder) or dev_server (an origin on this machine)' },
  )
  .describe('Serves the SPA at /, besides agent and proxy.')
