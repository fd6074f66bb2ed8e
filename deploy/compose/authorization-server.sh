#!/bin/sh
# The example authorization server takes its client's secret from the environment only.
set -eu
CLIENT_SECRET=$(cat /var/lib/token-handler/client/secret)
export CLIENT_SECRET
exec node --conditions=token-handler-source /app/spa-example/authorization-server/main.ts
