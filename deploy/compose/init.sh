#!/bin/sh
# Makes the keys and the client's secret, unless they are there: lost keys log everybody out.
set -eu
umask 077
cd /var/lib/token-handler
if [ ! -s client/secret ]; then
  node -e "process.stdout.write(require('node:crypto').randomBytes(32).toString('base64url'))" > client/secret
fi
if [ ! -s agent/keys.json ]; then
  node /app/cli/dist/bin.js keys generate --out agent/keys.json
  rm -f proxy/keys.json
fi
if [ ! -s proxy/keys.json ]; then
  node /app/cli/dist/bin.js keys export --purpose access-token --config /etc/token-handler/agent.yaml --out proxy/keys.json
fi
