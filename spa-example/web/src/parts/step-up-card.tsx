import type { StepUpRequiredError } from '@token-handler/client'
import type { ReactNode } from 'react'
import { Icon } from './icons.tsx'

interface StepUpCardProps {
  readonly demand: StepUpRequiredError
  readonly onConfirm: () => void
  readonly onDismiss: () => void
}

/** Says what a call asks for before the page is left for it. */
export function StepUpCard({ demand, onConfirm, onDismiss }: StepUpCardProps): ReactNode {
  return (
    <section className="banner notice step-up" role="alert" data-testid="step-up">
      <Icon name="shield" />
      <div>
        <p>
          <strong>This needs a second step.</strong> You confirm it at the login service and come back here; then the
          request is repeated by itself.
        </p>
        <p className="quiet">
          Asked for: <code data-testid="step-up-acr">{demand.acrValues.join(' ')}</code>
          {demand.maxAge !== undefined && `, at most ${Math.round(demand.maxAge / 60)} minutes ago`}
        </p>
        <p className="actions">
          <button type="button" className="primary" data-testid="step-up-confirm" onClick={onConfirm}>
            Confirm it is me
          </button>
          <button type="button" data-testid="step-up-dismiss" onClick={onDismiss}>
            Not now
          </button>
        </p>
      </div>
    </section>
  )
}
