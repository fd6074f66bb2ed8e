import { describe } from '@jest/globals'
import { startS3Server } from '../support/s3-server.ts'
import { itKeepsStoragePromises } from './storage-promises.ts'

describe('s3rver, with what the agent signs', () => {
  itKeepsStoragePromises(startS3Server, { isStrict: false })
})
