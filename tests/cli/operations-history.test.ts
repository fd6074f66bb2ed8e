import { describe, expect, it } from '@jest/globals'
import type { Figures, FiguresByProcess } from '../../cli/src/operations/figures.ts'
import { History } from '../../cli/src/operations/history.ts'
import { fakeClock } from '../support/clock.ts'

const none: Figures = { logins: 0, refreshes: 0, requests: 0, refusals: new Map(), openStreams: 0 }

/** One process unless named. */
function figures(changes: Partial<Figures>, process = '1'): FiguresByProcess {
  return new Map([[process, { ...none, ...changes }]])
}

const loginsOf = (history: History, hours = 1, minutesEach = 1): number[] =>
  history.stretches(hours, minutesEach).map(({ logins }) => logins)

describe('the past on the operations page', () => {
  it('has what came in each minute, with nothing where nobody looked', () => {
    const clock = fakeClock()
    const history = new History(clock)
    history.observe(figures({ logins: 2 }), 2)
    clock.advanceSeconds(30)
    history.observe(figures({ logins: 3 }), 3)
    clock.advanceSeconds(120)
    history.observe(figures({ logins: 7, openStreams: 4 }))
    expect(loginsOf(history)).toHaveLength(60)
    expect(loginsOf(history).slice(-4)).toEqual([0, 3, 0, 4])
    expect(
      history
        .stretches(1, 1)
        .map(({ sessions }) => sessions)
        .slice(-3),
    ).toEqual([3, undefined, undefined])
    expect(history.stretches(1, 1).at(-1)?.openStreams).toBe(4)
  })

  it('adds up processes, and takes a counter that fell for one that began anew', () => {
    const clock = fakeClock()
    const history = new History(clock)
    const refused = (value: number): Partial<Figures> => ({ refusals: new Map([['missing_header', value]]) })
    history.observe(new Map([...figures({ logins: 5, ...refused(4) }, '1'), ...figures({ logins: 10 }, '2')]))
    clock.advanceSeconds(60)
    // The second does not answer this time, and the first was replaced.
    history.observe(figures({ logins: 1, ...refused(1) }, '1'))
    clock.advanceSeconds(60)
    history.observe(new Map([...figures({ logins: 1, ...refused(1) }, '1'), ...figures({ logins: 12 }, '2')]))
    expect(loginsOf(history).slice(-3)).toEqual([15, 1, 2])
    const reasons = history.stretches(1, 1).map(({ refusals }) => refusals.get('missing_header'))
    expect(reasons.slice(-3)).toEqual([4, 1, undefined])
  })

  it('is a day long, in quarters of an hour that begin with the hour', () => {
    const clock = fakeClock()
    const history = new History(clock)
    for (let minute = 0; minute < 3000; minute++) {
      history.observe(figures({ logins: minute + 1 }))
      clock.advanceSeconds(60)
    }
    const day = history.stretches(24, 15)
    expect(day).toHaveLength(96)
    expect(day.every(({ startsAt }) => startsAt % 900_000 === 0)).toBe(true)
    expect(day.at(-2)?.logins).toBe(15)
    expect(loginsOf(history, 48).reduce((total, logins) => total + logins)).toBe(1440)
  })

  it('goes on from a clock that was set back, without minutes that have not come yet', () => {
    const clock = fakeClock()
    const history = new History(clock)
    history.observe(figures({ logins: 1 }))
    clock.advanceSeconds(600)
    history.observe(figures({ logins: 3 }))
    clock.jump(-600_000)
    history.observe(figures({ logins: 4 }))
    expect(loginsOf(history).slice(-1)).toEqual([2])
    clock.advanceSeconds(600)
    expect(loginsOf(history).reduce((total, logins) => total + logins)).toBe(2)
  })
})
