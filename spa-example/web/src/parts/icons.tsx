import type { ReactNode } from 'react'

export function Mark(): ReactNode {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <circle cx="16" cy="13.5" r="4" />
      <path d="M14.4 15h3.2l1.9 9h-7z" />
    </svg>
  )
}

const PATHS = {
  check: 'M4.5 10.5l3.5 3.5 7.5-8',
  cross: 'M5.5 5.5l9 9m0-9l-9 9',
  alert: 'M10 6v4.6m0 3v.1M10 2.5a7.5 7.5 0 100 15 7.5 7.5 0 000-15z',
  page: 'M5 2.5h6.5L15.5 6.5V17.5H5zM11.5 2.5v4h4',
  shield: 'M10 2.5l6 2v5c0 4-2.6 6.7-6 8-3.4-1.3-6-4-6-8v-5z',
  server: 'M3.5 4.5h13v4.5h-13zM3.5 11h13v4.5h-13zM6.2 6.8h.1M6.2 13.3h.1',
} as const

export function Icon({ name }: { readonly name: keyof typeof PATHS }): ReactNode {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}
