import { createRegistry, type DescService } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import type { Broker } from '#lib/broker/broker.ts';
import { createHealth, ServingStatus } from '#lib/grpc-health/health.ts';
import { createReflection } from '#lib/grpc-reflection/reflection.ts';
import type { Logger } from '#lib/telemetry/logger.ts';
import { BrokerHealth } from './broker-health.ts';
import { healthRoutes } from './health-routes.ts';
import { type HttpRoute, routeHttp } from './http-route.ts';
import { RPC_MAX_MESSAGE_BYTES } from './limits.ts';
import { listen } from './listen.ts';
import { refusalInterceptor } from './rpc.ts';

/** What a service brings to the process it runs in: alone, or with others in the monolith. */
export interface ServiceParts {
  /** The typed services it answers, for health and reflection. */
  readonly services: readonly DescService[];
  readonly rpc: (router: ConnectRouter) => void;
  readonly http: readonly HttpRoute[];
  /** Ends what would stay open by itself, spread over `spreadMs`, and resolves when it is done. */
  drain?(spreadMs: number): Promise<void>;
  /** Stops timers and the like. Called last. */
  close?(): void;
}

export interface RunOptions {
  readonly host: string;
  readonly port: number;
  readonly broker: Broker;
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

/** grpc.health.v1 knows the broker by this name; "" means serving and not draining. */
export const BROKER_HEALTH_SERVICE = 'tideway.broker';

/** Longer than Envoy's health check interval: by then it sends nothing new here. */
export const DRAIN_NOTICE_MS = 2_500;

/** Of a drain's time, for closing the broker: it reports what it knows for up to half a second. */
const CLOSE_RESERVE_MS = 1_000;

export async function runService(options: RunOptions): Promise<RunningService> {
  const { broker, parts, logger, drainTimeoutMs } = options;
  const onError = (error: unknown) => logger.error({ err: error }, 'unexpected error');
  let stopping: Promise<void> | undefined;

  const services = parts.flatMap((part) => part.services);
  const health = createHealth();
  health.set('', ServingStatus.SERVING);
  for (const { typeName } of services) health.set(typeName, ServingStatus.SERVING);
  // Once for each change: between them the refusals of thousands of requests would say the same.
  const brokerHealth = new BrokerHealth(broker, (reachable, cause) => {
    health.set(BROKER_HEALTH_SERVICE, reachable ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
    if (reachable) logger.info({ broker: broker.name }, 'broker reached');
    else logger.warn({ broker: broker.name, err: cause }, 'broker away');
  });

  const handler = connectNodeAdapter({
    routes(router) {
      for (const part of parts) part.rpc(router);
      health.routes(router);
      if (options.reflection) createReflection({ services, files: [file_google_rpc_error_details] }).routes(router);
    },
    interceptors: [refusalInterceptor(onError)],
    // PublishStream answers a refusal in a message; its details can't be written as JSON by who does not know them.
    jsonOptions: { registry: createRegistry(file_google_rpc_error_details) },
    readMaxBytes: RPC_MAX_MESSAGE_BYTES,
    fallback: routeHttp(
      [...parts.flatMap((part) => part.http), ...healthRoutes(brokerHealth, () => stopping !== undefined)],
      onError,
    ),
  });
  const listening = await listen({ host: options.host, port: options.port, handler, onError });
  brokerHealth.watch();
  logger.info({ port: listening.port, broker: broker.name }, 'listening');

  async function drain(): Promise<void> {
    logger.info({ connections: listening.connections() }, 'draining');
    for (const service of ['', ...services.map(({ typeName }) => typeName)]) {
      health.set(service, ServingStatus.NOT_SERVING);
    }
    // What is left is cut in time for the broker to be closed in good order, too.
    const cut = setTimeout(() => listening.destroy(), drainTimeoutMs - Math.min(CLOSE_RESERVE_MS, drainTimeoutMs / 4));
    const noticeMs = Math.min(DRAIN_NOTICE_MS, drainTimeoutMs / 4);
    if (listening.connections() > 0) await new Promise((resolve) => setTimeout(resolve, noticeMs));
    const accepted = listening.stopAccepting();
    const spreadMs = drainTimeoutMs / 2;
    await Promise.all(parts.map((part) => part.drain?.(spreadMs)));
    health.shutdown();
    await accepted;
    clearTimeout(cut);
    listening.destroy();
    for (const part of parts) part.close?.();
    brokerHealth.stop();
    await broker.close();
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
