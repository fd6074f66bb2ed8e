import { expect, it } from '@jest/globals'
import { buildSpa } from '../support/spa-build.ts'
import { submitCredentials, useDemo } from './support.ts'

const root = await buildSpa({ folder: 'tests/browser/strict-mode', mode: 'development' })
const bed = useDemo({ spa: { root } })

it('redeems a code once though React calls the effect that posts it twice', async () => {
  const page = await bed.open()
  await page.evaluate(async () => {
    const answer = await fetch('/oauth-agent/login/start', {
      method: 'POST',
      headers: { 'token-handler-version': '1' },
    })
    const { authorization_url: url } = (await answer.json()) as { authorization_url: string }
    location.assign(url)
  })
  await submitCredentials(page)
  await page.getByTestId('statuses').filter({ hasText: '200 200' }).waitFor()
  expect(bed.demo.wire.requests.filter(({ path }) => path === '/oauth-agent/login/end')).toHaveLength(2)
  expect(bed.demo.tokenRequests('authorization_code')).toHaveLength(1)
  expect(bed.demo.authorizationServer.issued).toHaveLength(1)
  expect(await page.evaluate(async () => (await fetch('/api/me')).status)).toBe(200)
  // A reload posts it twice more.
  await page.reload()
  await page.getByTestId('statuses').filter({ hasText: '200 200' }).waitFor()
  expect(bed.demo.tokenRequests('authorization_code')).toHaveLength(1)
})
