import { z } from 'zod'
import { publicPath } from './values.ts'

export const cookies = z
  .strictObject({
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9]{1,16}$/, 'must be 1 to 16 letters or digits')
      .default('th')
      .describe('Part of every cookie name; applications on one host need different ones.'),
    access_token_path: publicPath
      .default('/api')
      .describe(
        'Public path of the OAuth Proxy; the access cookie is sent there only. With / and spa, all but the routes is the SPA.',
      ),
    agent_path: publicPath.default('/oauth-agent').describe('Public path of the OAuth Agent.'),
    persistent: z.boolean().default(true).describe('false: the cookies end with the browser session.'),
    header_budget: z
      .int()
      .min(1024)
      .max(65_536)
      .default(7168)
      .describe('Most bytes our cookies may add to the Cookie header of one path.'),
    response_budget: z
      .int()
      .min(1024)
      .max(65_536)
      // Together with our other headers, up to 700 bytes, below the 4,096 that nginx takes unless told otherwise.
      .default(3328)
      .describe('Most bytes of Set-Cookie in one answer; raise proxy_buffer_size in nginx before you raise it.'),
  })
  .prefault({})
