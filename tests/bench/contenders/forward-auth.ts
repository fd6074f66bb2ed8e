/** The listener that gateways ask, with the same route table as the proxy. */
import { createServer } from 'node:http'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { forwardAuthSecret } from './forward-auth-secret.ts'
import { contend } from './node-contender.ts'
import { createRealisticProxy } from './realistic-proxy.ts'

contend((settings) => {
  const { authorize } = createRealisticProxy(settings, {
    style: 'original',
    peers: ['127.0.0.1'],
    secrets: [forwardAuthSecret],
    clientCertificate: false,
  })
  const server = createServer({ ...serverOptions, maxHeaderSize: 32_768 }, authorize)
  hardenServer(server)
  return server
})
