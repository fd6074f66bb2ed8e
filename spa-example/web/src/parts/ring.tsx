import type { ReactNode } from 'react'

const RADIUS = 52
const LENGTH = 2 * Math.PI * RADIUS
/** The library renews the access token when so much of its life is left. */
const RENEWAL = 0.2

interface RingProps {
  /** Seconds; undefined when unknown. */
  readonly left: number | undefined
  readonly lifetime: number | undefined
}

/** How much of the access token's life is left, with a mark where renewal begins. */
export function Ring({ left = 0, lifetime = 0 }: RingProps): ReactNode {
  const share = lifetime > 0 ? Math.min(1, left / lifetime) : 0
  const angle = 2 * Math.PI * RENEWAL
  const at = (radius: number): string =>
    `${(60 + radius * Math.sin(angle)).toFixed(2)} ${(60 - radius * Math.cos(angle)).toFixed(2)}`
  return (
    <svg className={share <= RENEWAL ? 'ring late' : 'ring'} viewBox="0 0 120 120" aria-hidden="true">
      <circle className="track" cx="60" cy="60" r={RADIUS} />
      <circle
        className="arc"
        cx="60"
        cy="60"
        r={RADIUS}
        transform="rotate(-90 60 60)"
        strokeDasharray={LENGTH}
        strokeDashoffset={LENGTH * (1 - share)}
      />
      <path className="renewal" d={`M${at(RADIUS - 7)}L${at(RADIUS + 7)}`} />
    </svg>
  )
}
