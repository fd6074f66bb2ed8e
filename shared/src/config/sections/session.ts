import { z } from 'zod'
import { seconds } from './values.ts'

export const session = z
  .strictObject({
    absolute_seconds: seconds(43_200, 60).describe('A session is over after this, whatever happens.'),
    idle_seconds: seconds(3600, 60).describe('A session is over after this without activity.'),
    access_cookie_seconds: seconds(900, 5).describe('Longest life of an access cookie.'),
    access_token_seconds: seconds(300, 5).describe('Assumed life of an access token whose answer lacks expires_in.'),
  })
  .prefault({})
