import type { OpenLimitsOptions } from '#lib/limits/open-limits.ts';
import { openLimits } from '#lib/limits/open-limits.ts';
import type { Log } from '#lib/log/log.ts';
import type { Gate } from '#lib/server/gate.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { Logger } from '#lib/telemetry/logger.ts';
import { relayTokens } from './auth-relay-tokens.ts';
import { createProjectCache } from './create-project-cache.ts';
import { createPipeline } from './pipeline.ts';
import { createProcessor } from './processing/create-processor.ts';
import type { ConfigSource } from './project-cache.ts';
import { relayFaces } from './routes.ts';
import type { RelaySettings } from './settings.ts';

export interface RelayOptions {
  readonly gate: Gate;
  readonly log: Log;
  /** Closed with the relay. */
  readonly source: ConfigSource;
  readonly redis: OpenLimitsOptions['redis'];
  readonly settings: RelaySettings;
  readonly logger: Logger;
}

/** The relay: its faces, and behind them the cache of projects, the threads and the way to the log. */
export function relayService({ gate, log, source, redis, settings, logger }: RelayOptions): ServiceParts {
  const onError = (error: unknown) => logger.warn({ err: error }, 'the relay met something unexpected');
  const projects = createProjectCache({ ...settings, source, onError });
  const limits = openLimits({ redis, maxRateLimitMs: settings.maxRateLimitMs, onError });
  const processor = createProcessor({ threads: settings.threads, onError });
  const pipeline = createPipeline({
    ...{ projects, limits, processor, log, onError },
    settings: { maxQueueBytes: settings.maxQueueBytes, maxBatches: 2 * settings.threads },
  });
  const faces = relayFaces({
    ...{ gate, intake: pipeline, onError },
    isRelay: relayTokens(settings.tokens),
    maxReceivingBytes: settings.maxReceivingBytes,
    maxBodiesPerAddress: settings.maxBodiesPerAddress,
    trustedHops: settings.trustedHops,
    onAddressFull: (address) =>
      logger.warn(
        { address, maxBodies: settings.maxBodiesPerAddress, trustedHops: settings.trustedHops },
        'an address has as many requests under way as it may: if it is a proxy’s, EDGE_TRUSTED_HOPS is too small',
      ),
    isReady: () => pipeline.ready(),
    onInvalid: (invalid) => pipeline.invalid(invalid),
  });
  return {
    ...faces,
    async drain(spreadMs) {
      await faces.drain?.(spreadMs);
      const isLogged = await pipeline.drain(spreadMs);
      if (!isLogged) logger.error({ ...pipeline.counters }, 'not all that was taken is in the log');
    },
    close() {
      faces.close?.();
      pipeline.close();
      projects.close();
      void processor.close();
      void limits.close();
    },
  };
}
