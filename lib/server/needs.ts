import type { EventStore } from '#lib/event-store/event-store.ts';
import type { Log } from '#lib/log/log.ts';
import type { Dependency } from './dependency-health.ts';
import { EVENT_STORE_HEALTH_SERVICE, LOG_HEALTH_SERVICE } from './run-service.ts';

/** The event store, for health; closed with the service. */
export function eventStoreNeed(events: EventStore): Dependency {
  return {
    name: `events on ${events.kind}`,
    healthService: EVENT_STORE_HEALTH_SERVICE,
    ping: (timeoutMs) => events.ping(timeoutMs),
    close: () => events.close(),
  };
}

/** The log, for health; closed with the service. */
export function logNeed(log: Log): Dependency {
  return {
    name: `log on ${log.kind}`,
    healthService: LOG_HEALTH_SERVICE,
    ping: (timeoutMs) => log.ping(timeoutMs),
    close: () => log.close(),
  };
}
