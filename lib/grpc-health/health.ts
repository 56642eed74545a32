import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import {
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '#gen/grpc/health/v1/health_pb.ts';

export { ServingStatus };

/**
 * grpc.health.v1 for connect-es: whoever runs a service says how it is, and load balancers, orchestrators and clients
 * ask for it (Check, List) or are told (Watch).
 *
 * 1. *Watch tells the present.* A watcher gets the status at once, SERVICE_UNKNOWN for a service nobody has named yet,
 *    and then each change. One that reads slowly gets the last of several changes: nothing is queued.
 * 2. *Shutdown is final.* All services are NOT_SERVING from then on, watchers are told and their streams end.
 */
export interface Health {
  /** Service "" stands for the whole server. After {@link shutdown} this does nothing. */
  set(service: string, status: KnownStatus): void;
  /** Undefined for a service that was never set. */
  get(service: string): KnownStatus | undefined;
  /** Adds the service to a server. */
  routes(router: ConnectRouter): void;
  /** Idempotent. */
  shutdown(): void;
}

export type KnownStatus = (typeof ServingStatus)['UNKNOWN' | 'SERVING' | 'NOT_SERVING'];

export interface HealthOptions {
  /** Watch streams at a time; more are refused with RESOURCE_EXHAUSTED. */
  readonly maxWatchers?: number;
}

export const DEFAULT_MAX_WATCHERS = 1000;

export function createHealth(options: HealthOptions = {}): Health {
  const maxWatchers = options.maxWatchers ?? DEFAULT_MAX_WATCHERS;
  const statuses = new Map<string, KnownStatus>();
  const watchers = new Set<() => void>();
  let isShutDown = false;

  function wakeWatchers(): void {
    for (const wake of watchers) wake();
  }

  async function* watch(service: string, signal: AbortSignal) {
    if (watchers.size >= maxWatchers) {
      throw new ConnectError('too many watchers', Code.ResourceExhausted);
    }
    let wake = () => {};
    const wakeCurrent = () => wake();
    watchers.add(wakeCurrent);
    signal.addEventListener('abort', wakeCurrent);
    try {
      let told: ServingStatus | undefined;
      while (!signal.aborted) {
        const status = statuses.get(service) ?? ServingStatus.SERVICE_UNKNOWN;
        if (status !== told) {
          told = status;
          yield create(HealthCheckResponseSchema, { status });
          // What has changed while the message was taken is looked at before waiting.
          continue;
        }
        if (isShutDown) throw new ConnectError('shutting down', Code.Unavailable);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      watchers.delete(wakeCurrent);
      signal.removeEventListener('abort', wakeCurrent);
    }
  }

  return {
    set(service, status) {
      if (isShutDown || statuses.get(service) === status) return;
      statuses.set(service, status);
      wakeWatchers();
    },

    get: (service) => statuses.get(service),

    routes(router) {
      router.service(HealthService, {
        check({ service }) {
          const status = statuses.get(service);
          if (status === undefined) throw new ConnectError('unknown service', Code.NotFound);
          return create(HealthCheckResponseSchema, { status });
        },
        list() {
          const entries = [...statuses].map(([service, status]) => [service, { status }]);
          return create(HealthListResponseSchema, { statuses: Object.fromEntries(entries) });
        },
        watch: ({ service }, context: HandlerContext) => watch(service, context.signal),
      });
    },

    shutdown() {
      if (isShutDown) return;
      isShutDown = true;
      for (const service of statuses.keys()) statuses.set(service, ServingStatus.NOT_SERVING);
      wakeWatchers();
    },
  };
}
