import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'

/**
 * The pictures of the README, so that they show what there is. They are written with `npm run screenshots` only; in every
 * other run the same pages are opened and have to be whole.
 */
const folder = join(import.meta.dirname, '../../docs/images')
const writes = process.env['TH_SCREENSHOTS'] === '1'
export const viewport = { width: 1180, height: 820 }

/** What a picture is. */
export interface Picture {
  readonly width: number
  readonly height: number
  /** Width of the page: more than the picture's when something is cut off at the side. */
  readonly pageWidth: number
}

/** Takes a picture of what is in view. */
export async function take(page: Page, name: string): Promise<Picture> {
  await page.evaluate(() => document.fonts.ready)
  // Neither focus nor hover belong into a picture.
  await page.evaluate(() => {
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur()
    scrollTo(0, 0)
  })
  await page.mouse.move(0, 0)
  const picture = await page.screenshot({ animations: 'disabled', caret: 'hide' })
  if (writes) {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, `${name}.png`), picture)
  }
  return {
    width: picture.readUInt32BE(16),
    height: picture.readUInt32BE(20),
    pageWidth: await page.evaluate(() => document.documentElement.scrollWidth),
  }
}

/** A picture that nothing is cut off from. */
export const whole: Picture = { ...viewport, pageWidth: viewport.width }
