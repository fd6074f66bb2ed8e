import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Ends an answer whose rest will not come, so that its client does not take for whole what it has. Where only the end of the
 * connection marks the end of the answer (HTTP/1.0), that takes a reset.
 */
export function cutOff(res: ServerResponse): void {
  const { req, socket } = res
  if (req.httpVersionMinor > 0 || socket === null) {
    res.destroy()
    return
  }
  try {
    // Below TLS: clients take an end without close_notify for a clean one. The socket's own name for it.
    const { _parent: transport } = socket as Socket & { readonly _parent?: Socket | null }
    ;(transport ?? socket).resetAndDestroy()
  } catch {
    // A Unix socket knows no reset.
    res.destroy()
  }
}
