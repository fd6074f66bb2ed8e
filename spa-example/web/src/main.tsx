import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'

// The return from a logout brings the state that was sent along (OpenID Connect RP-Initiated Logout section 3).
if (/^\?state=[^&]*$/.test(location.search)) history.replaceState(null, '', location.pathname)

const root = document.getElementById('app')
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  )
}
