import { describe, expect, it } from '@jest/globals'
import { cpuSeconds, processTree, residentMegabytes } from './accounting.ts'
import { shuffled, spreadOf } from './statistics.ts'

describe('the spread of measurements', () => {
  it('is the median and the quartiles, whatever the order', () => {
    expect(spreadOf([9, 1, 5, 3, 7])).toEqual({ lowerQuartile: 3, median: 5, upperQuartile: 7 })
  })

  it('lies between two values where none is in the middle', () => {
    expect(spreadOf([1, 2, 3, 4])).toEqual({ lowerQuartile: 1.75, median: 2.5, upperQuartile: 3.25 })
  })

  it('does not exist without values', () => {
    expect(() => spreadOf([])).toThrow(RangeError)
  })

  it('is of the same things after shuffling', () => {
    expect(shuffled([1, 2, 3, 4, 5]).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5])
  })
})

describe('the operating system’s accounting', () => {
  it('tells the CPU time and memory of this very process as Node does', () => {
    const before = cpuSeconds([process.pid])
    const { user, system } = process.cpuUsage()
    const after = cpuSeconds([process.pid])
    // Ticks of 10 ms, and user and system time are rounded apart.
    expect((user + system) / 1e6).toBeGreaterThan(before - 0.03)
    expect((user + system) / 1e6).toBeLessThan(after + 0.03)
    expect(residentMegabytes([process.pid]) / (process.memoryUsage().rss / 1e6)).toBeCloseTo(1, 0)
  })

  it('finds the processes that a process started', () => {
    expect(processTree(process.ppid)).toContain(process.pid)
  })
})
