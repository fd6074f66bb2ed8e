import { useSyncExternalStore, type MouseEvent, type ReactNode } from 'react'

/** The path that the address bar shows. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname)
}

interface LinkProps {
  readonly to: string
  readonly children: ReactNode
  readonly className?: string
  readonly testId?: string
}

/** A link within the app; with a modifier key the browser does what it always does. */
export function Link({ to, children, className, testId }: LinkProps): ReactNode {
  const path = usePath()
  const follow = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return
    event.preventDefault()
    history.pushState(null, '', to)
    dispatchEvent(new PopStateEvent('popstate'))
  }
  return (
    <a
      href={to}
      className={className}
      onClick={follow}
      data-testid={testId}
      aria-current={path === to ? 'page' : undefined}
    >
      {children}
    </a>
  )
}

function subscribe(changed: () => void): () => void {
  addEventListener('popstate', changed)
  return () => removeEventListener('popstate', changed)
}
