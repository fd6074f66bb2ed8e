/** The product, stand-alone: its own server options and hardening, the proxy on node:http, a realistic route table. */
import { createServer } from 'node:http'
import { hardenServer, serverOptions } from '@token-handler/oauth-proxy'
import { contend } from './node-contender.ts'
import { createRealisticProxy } from './realistic-proxy.ts'

contend((settings) => {
  const proxy = createRealisticProxy(settings)
  const server = createServer(serverOptions, (req, res) => proxy.handle(req, res))
  hardenServer(server)
  server.on('upgrade', (req, socket, head) => proxy.upgrade(req, socket, head))
  return server
})
