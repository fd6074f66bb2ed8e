import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { OpenExchanges, type Placed } from '../../oauth-proxy/src/open-exchanges.ts'

interface Exchange extends Placed {
  readonly id: number
}

describe('the exchanges under way', () => {
  it('are those that were added and not deleted, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 200 }), (steps) => {
        const exchanges = Array.from({ length: 21 }, (_, id): Exchange => ({ id, place: -1 }))
        const open = new OpenExchanges<Exchange>()
        const expected = new Set<number>()
        for (const [isNew, id] of steps) {
          const exchange = exchanges[id] as Exchange
          if (!isNew) open.delete(exchange)
          else if (!expected.has(id)) open.add(exchange)
          if (isNew) expected.add(id)
          else expected.delete(id)
        }
        expect([...open].map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([...expected].toSorted((a, b) => a - b))
      }),
    )
  })

  it('can be deleted while they are looked through, each being seen once', () => {
    const open = new OpenExchanges<Exchange>()
    for (let id = 0; id < 10; id++) open.add({ id, place: -1 })
    const seen: number[] = []
    for (const exchange of open) {
      seen.push(exchange.id)
      open.delete(exchange)
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect([...open]).toEqual([])
  })
})
