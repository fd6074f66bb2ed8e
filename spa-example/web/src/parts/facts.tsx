import type { ReactNode } from 'react'

interface FactsProps {
  readonly facts: Readonly<Record<string, unknown>>
  readonly testId: string
}

/** Names and values, as claims are. */
export function Facts({ facts, testId }: FactsProps): ReactNode {
  return (
    <dl className="rows" data-testid={testId}>
      {Object.entries(facts).map(([name, value]) => (
        <div key={name}>
          <dt>
            <code>{name}</code>
          </dt>
          <dd data-testid={`${testId}-${name}`}>{format(name, value)}</dd>
        </div>
      ))}
    </dl>
  )
}

function format(name: string, value: unknown): string {
  if (name === 'auth_time' && typeof value === 'number') return new Date(value * 1000).toLocaleString()
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'string' ? value : JSON.stringify(value)
}
