import { exposeCounter, type ErrorCode, type Registry, type Sample } from '@token-handler/shared'

/**
 * What became of the requests for one route, in plain numbers: counting one costs a few nanoseconds, and names and texts
 * are put to them only when metrics are asked for.
 */
export class Outcomes {
  /** Answers broken off in the middle, by the API or because the session ended. */
  brokeOff = 0
  #preflights = 0
  #clientsGone = 0
  /** Answers of the API, by the first digit of their status. */
  readonly #answered = [0, 0, 0, 0, 0, 0]
  /** An alert on the error that should not be sees a single one only if there was a zero before it. */
  readonly #refused = new Map<ErrorCode, number>([['server_error', 0]])

  /** The API answered. */
  answer(status: number): void {
    const digit = Math.trunc(status / 100)
    this.#answered[digit] = (this.#answered[digit] ?? 0) + 1
  }

  /** We answered with an error. */
  refuse(code: ErrorCode): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1)
  }

  preflight(): void {
    this.#preflights++
  }

  /** The client went before there was an answer. */
  clientGone(): void {
    this.#clientsGone++
  }

  /** Every outcome that came to pass, and how often; `server_error` in any case. */
  *counts(): Iterable<readonly [outcome: string, count: number]> {
    for (const [digit, count] of this.#answered.entries()) if (count > 0) yield [`${digit}xx`, count]
    yield* this.#refused
    if (this.#preflights > 0) yield ['preflight', this.#preflights]
    if (this.#clientsGone > 0) yield ['client_gone', this.#clientsGone]
  }
}

/** @param outcomes By the route's configured path; `none` stands for no route. */
export function exposeOutcomes(registry: Registry, outcomes: ReadonlyMap<string, Outcomes>): void {
  exposeCounter(registry, {
    name: 'token_handler_proxy_requests_total',
    help: 'Requests to the OAuth Proxy by route and outcome: class of the status that the API answered, or our error code.',
    labelNames: ['route', 'outcome'],
    *read(): Iterable<Sample<'route' | 'outcome'>> {
      for (const [route, counted] of outcomes) {
        for (const [outcome, count] of counted.counts()) yield [{ route, outcome }, count]
      }
    },
  })
  exposeCounter(registry, {
    name: 'token_handler_proxy_broken_answers_total',
    help: 'Answers of APIs that broke off in the middle.',
    labelNames: ['route'],
    *read(): Iterable<Sample<'route'>> {
      for (const [route, { brokeOff }] of outcomes) yield [{ route }, brokeOff]
    },
  })
}
