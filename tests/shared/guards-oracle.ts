import type { ErrorCode, GuardedRequest } from '@token-handler/shared'

/** One row of the table: a request, and the route that it is for. */
export interface GuardRow {
  readonly method: string
  readonly isUpgrade: boolean
  readonly headers: GuardedRequest['headers']
  readonly navigable: boolean
  readonly embeddable: boolean
  readonly ownOriginTrusted: boolean
  readonly headerAlwaysRequired: boolean
}

const trustedOrigin = 'https://www.app.example'

/**
 * What the design says in five steps, written as a list of demands rather than as a course of events, so that it shares
 * neither structure nor shortcuts with the guards. The first demand that is not met names the answer.
 */
export function refusalByDesign(row: GuardRow): ErrorCode | undefined {
  const { headers, method } = row
  const {
    origin,
    referer,
    'sec-fetch-site': site,
    'sec-fetch-mode': mode,
    'sec-fetch-dest': destination,
  } = headers as Record<string, string | undefined>
  const hasHeader = headers['token-handler-version'] === '1'
  const isNavigation = mode === 'navigate' && row.navigable
  const served: (string | undefined)[] = [
    undefined,
    'empty',
    'image',
    'audio',
    'video',
    'font',
    'track',
    ...(row.navigable ? ['document'] : []),
    ...(row.embeddable ? ['iframe'] : []),
  ]
  const demands: [ErrorCode, boolean][] = [
    ['untrusted_origin', [undefined, trustedOrigin].includes(origin)],
    ['missing_origin', !row.isUpgrade || origin === trustedOrigin],
    ...((row.isUpgrade
      ? []
      : [
          ['missing_header', hasHeader || (['GET', 'HEAD'].includes(method) && !row.headerAlwaysRequired)],
          ['cross_site', [undefined, 'same-origin', 'same-site', 'none'].includes(site)],
          ['untrusted_destination', site !== 'none' || isNavigation],
          ['untrusted_destination', served.includes(destination)],
          ['untrusted_destination', headers['service-worker'] !== 'script'],
          ['untrusted_destination', !String(headers['sec-purpose']).startsWith('prefetch')],
          [
            'missing_origin',
            [
              origin === trustedOrigin,
              site === 'same-origin' && row.ownOriginTrusted,
              origin === undefined && referer?.startsWith(`${trustedOrigin}/`) === true,
              site === 'none' && isNavigation,
              [origin, referer, site].every((evidence) => evidence === undefined) && hasHeader,
            ].includes(true),
          ],
        ]) satisfies [ErrorCode, boolean][]),
  ]
  return demands.find(([, isMet]) => !isMet)?.[0]
}
