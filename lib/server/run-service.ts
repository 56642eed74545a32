import { createRegistry, type DescService } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import type { Broker } from '#lib/broker/broker.ts';
import { createHealth, ServingStatus } from '#lib/grpc-health/health.ts';
import { createReflection } from '#lib/grpc-reflection/reflection.ts';
import type { Store } from '#lib/store/store.ts';
import type { Logger } from '#lib/telemetry/logger.ts';
import { type Dependency, DependencyHealth } from './dependency-health.ts';
import type { H2Route } from './h2-route.ts';
import { healthRoutes } from './health-routes.ts';
import { type HttpRoute, type HttpTree, routeHttp } from './http-route.ts';
import { type ListenLimits, RPC_MAX_MESSAGE_BYTES } from './limits.ts';
import { listen } from './listen.ts';
import { type RawRpc, routeRawRpcs } from './raw-rpc.ts';
import { refusalInterceptor } from './rpc.ts';

/** What a service brings to the process it runs in: alone, or with others in the monolith. */
export interface ServiceParts {
  /** The typed services it answers, for health and reflection. */
  readonly services: readonly DescService[];
  /** `onError` hears of what request gates meet unexpectedly. */
  readonly rpc: (router: ConnectRouter, onError: (error: unknown) => void) => void;
  readonly http: readonly HttpRoute[];
  readonly rawRpcs?: readonly RawRpc[];
  readonly h2Routes?: readonly H2Route[];
  readonly trees?: readonly HttpTree[];
  /** From now on whatever it says of its own health says no. Called first. */
  drainBegins?(): void;
  /** Ends what would stay open by itself, spread over `spreadMs`, and resolves when it is done. */
  drain?(spreadMs: number): Promise<void>;
  /** Stops timers and the like. Called last. */
  close?(): void;
}

export interface RunOptions {
  readonly host: string;
  readonly port: number;
  /** What this port takes otherwise than others. */
  readonly limits?: Partial<ListenLimits>;
  /** What its services need; closed when it stops. */
  readonly broker?: Broker | undefined;
  readonly store?: Store | undefined;
  readonly needs?: readonly Dependency[];
  readonly parts: readonly ServiceParts[];
  readonly reflection: boolean;
  readonly drainTimeoutMs: number;
  readonly logger: Logger;
}

export interface RunningService {
  readonly port: number;
  /**
   * Drains and ends within `drainTimeoutMs`: health says NOT_SERVING; those who look at it get time to notice; no new
   * connections, GOAWAY on the old ones; streams end spread out; what is left is cut. Idempotent.
   */
  stop(): Promise<void>;
}

/** grpc.health.v1 knows what a service needs by these names; "" means serving and not draining. */
export const BROKER_HEALTH_SERVICE = 'tideway.broker';
export const STORE_HEALTH_SERVICE = 'tideway.store';
export const EVENT_STORE_HEALTH_SERVICE = 'tideway.events';
export const LOG_HEALTH_SERVICE = 'tideway.log';

/** Longer than Envoy's health check interval: by then it sends nothing new here. */
export const DRAIN_NOTICE_MS = 2_500;

/** Of a drain's time, for closing the broker: it reports what it knows for up to half a second. */
const CLOSE_RESERVE_MS = 1_000;

export async function runService(options: RunOptions): Promise<RunningService> {
  const { parts, logger, drainTimeoutMs } = options;
  const onError = (error: unknown) => logger.error({ err: error }, 'unexpected error');
  let stopping: Promise<void> | undefined;

  const services = parts.flatMap((part) => part.services);
  const health = createHealth();
  health.set('', ServingStatus.SERVING);
  for (const { typeName } of services) health.set(typeName, ServingStatus.SERVING);
  // Once for each change: between them the refusals of thousands of requests would say the same.
  const needs = dependenciesOf(options).map((dependency) => {
    const { name, healthService } = dependency;
    return new DependencyHealth(dependency, (reachable, cause) => {
      health.set(healthService, reachable ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
      if (reachable) logger.info({ dependency: name }, 'dependency reached');
      else logger.warn({ dependency: name, err: cause }, 'dependency away');
    });
  });

  const trees = parts.flatMap((part) => part.trees ?? []);
  const connectHandler = connectNodeAdapter({
    routes(router) {
      for (const part of parts) part.rpc(router, onError);
      health.routes(router);
      if (options.reflection) createReflection({ services, files: [file_google_rpc_error_details] }).routes(router);
    },
    interceptors: [refusalInterceptor(onError)],
    // PublishStream answers a refusal in a message; its details can't be written as JSON by who does not know them.
    jsonOptions: { registry: createRegistry(file_google_rpc_error_details) },
    readMaxBytes: RPC_MAX_MESSAGE_BYTES,
    fallback: routeHttp(
      [...parts.flatMap((part) => part.http), ...healthRoutes(needs, () => stopping !== undefined)],
      onError,
      trees,
    ),
  });
  const handler = routeRawRpcs(
    parts.flatMap((part) => part.rawRpcs ?? []),
    connectHandler,
  );
  const slowPaths = trees.flatMap(({ requestTimeoutMs, owns }) =>
    requestTimeoutMs === undefined ? [] : [{ requestTimeoutMs, owns }],
  );
  const { host, port, limits = {} } = options;
  const h2Routes = parts.flatMap((part) => part.h2Routes ?? []);
  const listening = await listen({ host, port, handler, h2Routes, limits, slowPaths, onError });
  for (const need of needs) need.watch();
  logger.info({ port: listening.port, needs: needs.map(({ dependency }) => dependency.name) }, 'listening');

  async function drain(): Promise<void> {
    logger.info({ connections: listening.connections() }, 'draining');
    for (const service of ['', ...services.map(({ typeName }) => typeName)]) {
      health.set(service, ServingStatus.NOT_SERVING);
    }
    for (const part of parts) part.drainBegins?.();
    // What is left is cut in time for the broker to be closed in good order, too.
    const cutMs = drainTimeoutMs - Math.min(CLOSE_RESERVE_MS, drainTimeoutMs / 4);
    const cut = setTimeout(() => listening.destroy(), cutMs);
    const noticeMs = Math.min(DRAIN_NOTICE_MS, drainTimeoutMs / 4);
    if (listening.connections() > 0) await new Promise((resolve) => setTimeout(resolve, noticeMs));
    const accepted = listening.stopAccepting();
    // The last that are sent away have time for it, or the cut is their goodbye.
    const spreadMs = Math.min(drainTimeoutMs / 2, (cutMs - noticeMs) * 0.7);
    await Promise.all(parts.map((part) => part.drain?.(spreadMs)));
    health.shutdown();
    await accepted;
    clearTimeout(cut);
    listening.destroy();
    for (const part of parts) part.close?.();
    for (const need of needs) need.stop();
    await Promise.all(needs.map(({ dependency }) => dependency.close()));
    logger.info('stopped');
  }

  return {
    port: listening.port,
    stop: () => {
      stopping ??= drain();
      return stopping;
    },
  };
}

function dependenciesOf({ broker, store, needs: more = [] }: RunOptions): Dependency[] {
  const needs: Dependency[] = [...more];
  if (broker !== undefined) {
    needs.push({
      name: broker.name,
      healthService: BROKER_HEALTH_SERVICE,
      ping: (timeoutMs) => broker.ping(timeoutMs),
      close: () => broker.close(),
    });
  }
  if (store !== undefined) {
    needs.push({
      name: store.kind,
      healthService: STORE_HEALTH_SERVICE,
      ping: (timeoutMs) => store.ping(timeoutMs),
      close: () => store.close(),
    });
  }
  return needs;
}
