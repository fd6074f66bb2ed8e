# Token Handler: `docker build .` makes the image for production; `--target example` adds the example SPA, API and
# authorization server. docs/deployment.md says how to run it.

FROM node:26-slim AS manifests
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY shared/package.json shared/
COPY oauth-agent/package.json oauth-agent/
COPY oauth-proxy/package.json oauth-proxy/
COPY cli/package.json cli/
COPY spa-example/client/package.json spa-example/client/
COPY tools/node-runtime/package.json tools/node-runtime/

# Everything, to build with. The browser and the Node.js that come as packages are for development machines.
FROM manifests AS build
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build && rm -rf node_modules/node-linux-* node_modules/@sparticuz

# What runs in production, and nothing else.
FROM manifests AS dependencies
RUN npm ci --ignore-scripts --omit=dev --workspace=cli

FROM node:26-slim AS example
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app ./
USER node
HEALTHCHECK NONE
CMD ["node", "--help"]

# The last stage is the default one.
FROM node:26-slim AS runtime
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app ./
COPY --from=build /app/shared/dist shared/dist
COPY --from=build /app/oauth-agent/dist oauth-agent/dist
COPY --from=build /app/oauth-proxy/dist oauth-proxy/dist
COPY --from=build /app/cli/dist cli/dist
COPY deploy/healthcheck.ts deploy/
# Volumes that are mounted here for the first time take over owner and mode.
RUN cd /var/lib && install -d -o node -g node -m 0700 token-handler \
  token-handler/agent token-handler/proxy token-handler/client token-handler/ledger
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["node", "/app/deploy/healthcheck.ts"]
ENTRYPOINT ["node", "/app/cli/dist/bin.js"]
CMD ["start", "--config", "/etc/token-handler/token-handler.yaml"]
