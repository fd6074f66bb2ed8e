import { z } from 'zod'
import { origin, socketOrigin } from './values.ts'

export const spa = z
  .union(
    [
      z.strictObject({
        root: z.string().min(1).describe('Folder of the built SPA, with index.html and callback.html.'),
        connect_origins: z
          .array(z.union([origin, socketOrigin], 'must be an origin such as https://storage.example.com or wss://…'))
          .default([])
          .describe(
            'What the SPA talks to besides agent and proxy, such as a storage; goes into its policy (connect-src).',
          ),
      }),
      z.strictObject({
        dev_server: origin.describe(
          'Development server on this machine, such as http://localhost:5173 for Vite; it has a callback.html, too.',
        ),
      }),
    ],
    { error: 'takes either root (a folder) or dev_server (an origin on this machine)' },
  )
  .describe('Serves the SPA at /, besides agent and proxy.')
