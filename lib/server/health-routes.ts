import type { DependencyHealth } from './dependency-health.ts';
import { type HttpRoute, sendJson } from './http-route.ts';

/**
 * Conduit's health forms: `/healthz` says that the process runs, `/readyz` that it takes work and reaches what it needs.
 */
export function healthRoutes(needs: readonly DependencyHealth[], isDraining: () => boolean): HttpRoute[] {
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
        const found = await Promise.all(
          needs.map(async (need) => ({ name: need.dependency.name, reachable: await need.reachable() })),
        );
        const ready = found.every(({ reachable }) => reachable) && !isDraining();
        sendJson(response, ready ? 200 : 503, {
          status: ready ? 'ok' : 'fail',
          dependencies: Object.fromEntries(found.map(({ name, reachable }) => [name, reachable ? 'ok' : 'fail'])),
        });
      },
    },
  ];
}
