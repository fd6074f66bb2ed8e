import type { ReactNode } from 'react'
import type { Problem } from '../problems.ts'
import { Icon } from './icons.tsx'

interface ProblemBannerProps {
  readonly problem: Problem
  readonly onDismiss: () => void
}

export function ProblemBanner({ problem, onDismiss }: ProblemBannerProps): ReactNode {
  return (
    <div className="banner problem" role="alert" data-testid="error" data-code={problem.code}>
      <Icon name="alert" />
      <div>
        <p>
          <strong data-testid="error-message">{problem.message}</strong>{' '}
          <code data-testid="error-code">{problem.code}</code>
        </p>
        <p className="quiet" data-testid="error-hint">
          {problem.hint}
        </p>
      </div>
      <button type="button" className="plain" onClick={onDismiss} aria-label="Dismiss" data-testid="error-dismiss">
        <Icon name="cross" />
      </button>
    </div>
  )
}

export function Notice({ children }: { readonly children: ReactNode }): ReactNode {
  return (
    <div className="banner notice" role="status" data-testid="notice">
      <Icon name="alert" />
      <p>{children}</p>
    </div>
  )
}
