# One image for every service: docker-compose.yml says which of them a container runs.
FROM node:24.21.0-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# Without the development packages, and without the scripts that packages bring: none of these needs one.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24.21.0-slim
ENV NODE_ENV=production
WORKDIR /app
# Where the edge's configuration is handed over: the volume that is mounted here takes on its owner.
RUN mkdir /config && chown node:node /config
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY gen gen
COPY lib lib
COPY services services
COPY envoy envoy
COPY cli cli
USER node
CMD ["node", "services/monolith/main.ts"]
