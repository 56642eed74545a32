import type { BrokerHealth } from './broker-health.ts';
import { type HttpRoute, sendJson } from './http-route.ts';

/**
 * Conduit's health forms: `/healthz` says that the process runs, `/readyz` that it takes work and reaches its broker.
 */
export function healthRoutes(broker: BrokerHealth, isDraining: () => boolean): HttpRoute[] {
  const startedMs = performance.now();
  return [
    {
      methods: ['GET', 'HEAD'],
      path: /^\/healthz\/?$/,
      cors: true,
      handle: ({ response }) =>
        sendJson(response, 200, { status: 'ok', uptime: Math.floor((performance.now() - startedMs) / 1000) }),
    },
    {
      methods: ['GET', 'HEAD'],
      path: /^\/readyz\/?$/,
      cors: true,
      handle: async ({ response }) => {
        const reachable = await broker.reachable();
        const ready = reachable && !isDraining();
        sendJson(response, ready ? 200 : 503, {
          status: ready ? 'ok' : 'fail',
          dependencies: { [broker.brokerName]: reachable ? 'ok' : 'fail' },
        });
      },
    },
  ];
}
