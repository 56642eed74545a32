import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { Admin, type BaseOptions, Consumer, compatibilityPartitioner, Producer } from '@platformatic/kafka';
import type { KafkaSettings, KafkaTls } from './kafka-settings.ts';
import { LogUnavailableError } from './log.ts';

/** A member of a group that is not heard of for so long is none any more. */
const SESSION_TIMEOUT_MS = 10_000;
const HEARTBEAT_MS = 1_000;
const REBALANCE_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 3_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** How long a broker may wait for its followers. */
const REPLICATION_TIMEOUT_MS = 5_000;
const MAX_RETRY_DELAY_MS = 500;
const FIRST_RETRY_DELAY_MS = 50;
/** Until somebody gives up on the client: whoever waits has a deadline of its own. */
const MANY = 1_000_000;
const FEW = 3;

/** Makes clients of the cluster. None connects before it is used. */
export class KafkaClients {
  readonly #options: BaseOptions;

  constructor({ brokers, tls, sasl }: KafkaSettings) {
    this.#options = {
      clientId: 'tideway',
      bootstrapBrokers: [...brokers],
      connectTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      timeout: REPLICATION_TIMEOUT_MS,
      retries: FEW,
      retryDelay: (_client, _operation, attempt) =>
        Math.min(FIRST_RETRY_DELAY_MS * 2 ** (attempt - 1), MAX_RETRY_DELAY_MS),
      ...(tls === undefined ? {} : { tls: tlsOptions(tls), tlsServerName: tls.serverName ?? !brokers.some(isAddress) }),
      ...(sasl === undefined ? {} : { sasl: { ...sasl } }),
    };
  }

  admin(): Admin {
    return quiet(new Admin({ ...this.#options }));
  }

  /** Retries within one send until it is closed: with the same sequence numbers, by which brokers drop what comes twice. */
  producer(): Producer {
    // Java's clients choose the same partition for a key.
    return quiet(
      new Producer({ ...this.#options, idempotent: true, retries: MANY, partitioner: compatibilityPartitioner }),
    );
  }

  member(group: string): Consumer {
    return new Consumer({
      ...this.#options,
      groupId: group,
      autocommit: false,
      sessionTimeout: SESSION_TIMEOUT_MS,
      heartbeatInterval: HEARTBEAT_MS,
      rebalanceTimeout: REBALANCE_TIMEOUT_MS,
      heartbeatStallTimeout: REBALANCE_TIMEOUT_MS,
    });
  }

  /** Reads, and is no member of any group. */
  reader(topics: readonly string[]): Consumer {
    const consumer = quiet(new Consumer({ ...this.#options, groupId: 'none', autocommit: false }));
    consumer.topics.trackAll(...topics);
    return consumer;
  }
}

/** The library says some failures by an event beside the promise that rejects: unheard it would end the process. */
function quiet<T extends Admin | Producer | Consumer>(client: T): T {
  (client as { on(event: 'error', listener: () => void): unknown }).on('error', () => undefined);
  return client;
}

/** Never throws. */
export async function closeQuietly(client: Admin | Producer | Consumer): Promise<void> {
  try {
    await (client instanceof Admin ? client.close() : client.close(true));
  } catch {
    // A consumer that can't leave its group would stay open.
    await client.connections.close().catch(() => undefined);
  }
}

export function unavailable(cause: unknown): LogUnavailableError {
  if (cause instanceof LogUnavailableError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new LogUnavailableError(`Kafka: ${message}`, { cause });
}

/** Which can't be a server's name in TLS. */
function isAddress(broker: string): boolean {
  return isIP(broker.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')) !== 0;
}

function tlsOptions({ caFile, certFile, keyFile }: KafkaTls): Record<string, unknown> {
  return {
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    ...(certFile === undefined ? {} : { cert: readFileSync(certFile) }),
    ...(keyFile === undefined ? {} : { key: readFileSync(keyFile) }),
  };
}
