import type { EventStore } from '#lib/event-store/event-store.ts';
import { GROUPS, INGEST_TOPICS, OUTCOME_TOPICS } from '#lib/ingest/topics.ts';
import type { Log } from '#lib/log/log.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import { consume } from './consume.ts';
import { INGEST_READER, OUTCOME_READER } from './effects.ts';
import type { LivePublisher } from './live-publisher.ts';
import { summaryOf } from './live-summary.ts';
import type { Reports } from './reports.ts';
import { startRetention } from './retention.ts';

export interface ConsumersOptions {
  readonly log: Log;
  readonly store: EventStore;
  readonly live: LivePublisher;
  readonly reports: Reports;
  readonly now: () => number;
}

export interface Consumers {
  /** Finishes the batches at hand and ends. Idempotent; never throws. */
  stop(): Promise<void>;
}

/** Saves events and counts outcomes, and deletes what has expired. */
export function startConsumers({ log, store, live, reports, now }: ConsumersOptions): Consumers {
  const common = { log, store, reports };
  const consumers = [
    consume({
      ...common,
      group: GROUPS.events,
      topics: INGEST_TOPICS,
      reader: INGEST_READER,
      onNew: (events) => live.publish(events.map(summaryOf)),
    }),
    consume({
      ...common,
      group: GROUPS.outcomes,
      topics: OUTCOME_TOPICS,
      reader: OUTCOME_READER,
      onNew: () => undefined,
    }),
  ];
  const retention = startRetention({ store, reports, now });
  let stopping: Promise<unknown> | undefined;
  return {
    async stop() {
      stopping ??= Promise.all([...consumers.map((consumer) => consumer.close()), retention.stop()]);
      await stopping;
    },
  };
}

/** The consumers as a service. Any number may run: each partition is one's at a time. */
export function consumersService(options: ConsumersOptions): ServiceParts {
  const consumers = startConsumers(options);
  return {
    services: [],
    rpc() {},
    http: [],
    async drain(spreadMs) {
      await consumers.stop();
      await options.live.close(spreadMs);
    },
  };
}
