import { createElement, StrictMode, useEffect, useState, type ReactNode } from 'react'
import { createRoot } from 'react-dom/client'

/** A callback page as it is often written, without our library: the effect posts the query, whatever happened before. */
function Callback(): ReactNode {
  const [statuses, setStatuses] = useState<readonly number[]>([])
  useEffect(() => {
    void fetch('/oauth-agent/login/end', {
      method: 'POST',
      headers: { 'token-handler-version': '1' },
      body: new URLSearchParams(location.search),
    }).then(({ status }) => setStatuses((before) => [...before, status]))
  }, [])
  return createElement('p', { 'data-testid': 'statuses' }, statuses.join(' '))
}

const root = document.getElementById('app')
if (root !== null) createRoot(root).render(createElement(StrictMode, undefined, createElement(Callback)))
