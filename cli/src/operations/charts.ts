import { html, type Html } from './html.ts'
import type { Stretch } from './history.ts'

const width = 600
const height = 80

export interface Chart {
  readonly title: string
  /** The figure that stands over the bars. */
  readonly figure: string
  /** What the figure and the bars are. */
  readonly meaning: string
  readonly stretches: readonly Stretch[]
  readonly valueOf: (stretch: Stretch) => number | undefined
}

/** A figure with its bars, which are an image to who cannot see them: the text says the same in short. */
export function drawChart({ title, figure, meaning, stretches, valueOf }: Chart): Html {
  const values = stretches.map((stretch) => valueOf(stretch) ?? 0)
  const most = Math.max(...values)
  const each = width / values.length
  const bars = values.flatMap((value, index) => {
    if (value === 0) return []
    const tall = Math.max(2, (value / most) * (height - 2))
    return `M${round(index * each + each * 0.1)} ${height}v-${round(tall)}h${round(each * 0.8)}v${round(tall)}z`
  })
  return html`<div class="card">
    <h3>${title}</h3>
    <div class="reading"><span class="figure">${figure}</span><span class="note">${meaning}</span></div>
    <svg
      viewBox="0 0 ${width} ${height + 1}"
      preserveAspectRatio="none"
      role="img"
      aria-label="${title} over time; at most ${formatNumber(most)}"
    >
      <path class="bars" d="${bars.join('')}" />
      <path class="base" d="M0 ${height + 0.5}h${width}" />
    </svg>
    <div class="axis">
      <span>${formatTime(stretches[0]?.startsAt)}</span><span>most: ${formatNumber(most)}</span><span>now</span>
    </div>
  </div>`
}

export function formatNumber(value: number): string {
  return value.toLocaleString('en-US')
}

/** Coordinated universal time, as the logs have it. */
function formatTime(instant = 0): string {
  return `${new Date(instant).toISOString().slice(11, 16)} UTC`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
