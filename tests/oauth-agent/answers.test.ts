import { EventEmitter } from 'node:events'
import type { Response } from 'express'
import { afterEach, beforeEach, expect, it, jest } from '@jest/globals'
import { sendJson } from '../../oauth-agent/src/answers.ts'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

/** An answer whose reader takes nothing. */
function stalled(): { res: Response; destroy: jest.Mock } {
  const destroy = jest.fn()
  const res = Object.assign(new EventEmitter(), { statusCode: 0, setHeader() {}, end() {}, destroy })
  return { res: res as unknown as Response, destroy }
}

it('gives up an answer that is not written within 30 seconds: its cookies would be too old', () => {
  const { res, destroy } = stalled()
  sendJson(res, 200, {})
  jest.advanceTimersByTime(29_999)
  expect(destroy).not.toHaveBeenCalled()
  jest.advanceTimersByTime(1)
  expect(destroy).toHaveBeenCalledTimes(1)
})

it('leaves an answer alone that was written', () => {
  const { res, destroy } = stalled()
  sendJson(res, 200, {})
  res.emit('close')
  jest.advanceTimersByTime(60_000)
  expect(destroy).not.toHaveBeenCalled()
})
