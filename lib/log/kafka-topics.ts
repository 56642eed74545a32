import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from '@platformatic/kafka';
import { closeQuietly, type KafkaClients, unavailable } from './kafka-clients.ts';
import { LogUnavailableError } from './log.ts';
import { within } from './within.ts';

export interface KafkaTopicSettings {
  /** Of a topic that is made here, as what follows. One that exists is taken as it is. */
  readonly partitions: number;
  readonly replicas: number;
  readonly retentionMs: number;
}

/**
 * What a broker takes at once, of one partition. The largest record fits with what is around it. A topic that others made
 * with Kafka's own limit of 1 MiB takes no more than that.
 */
export const MAX_PIECE_BYTES = 4 * 1024 * 1024;
const MAX_MESSAGE_BYTES = MAX_PIECE_BYTES + 1024 * 1024;
/** Records go by whole segments, once the youngest of one is too old: so some stay longer, by this part. */
const SEGMENTS_A_RETENTION = 8;
const MIN_SEGMENT_MS = 1_000;
const READY_DEADLINE_MS = 10_000;
const READY_POLL_MS = 50;

/** The topics of the cluster, and a client to ask about them, made anew when it failed. */
export class KafkaTopics {
  readonly #clients: KafkaClients;
  readonly #settings: KafkaTopicSettings;
  readonly #known = new Set<string>();
  #admin: Admin | undefined;
  #isClosed = false;

  constructor(clients: KafkaClients, settings: KafkaTopicSettings) {
    this.#clients = clients;
    this.#settings = settings;
  }

  /** Makes those that are missing, and waits until they can be used. @throws LogUnavailableError */
  async ensure(topics: Iterable<string>): Promise<void> {
    const unknown = [...new Set(topics)].filter((topic) => !this.#known.has(topic));
    if (unknown.length === 0) return;
    const existing = await this.existing(unknown);
    for (const topic of unknown) {
      if (!existing.includes(topic)) await this.#create(topic);
      this.#known.add(topic);
    }
  }

  /** After a failure: somebody may have deleted one. */
  forget(): void {
    this.#known.clear();
  }

  /** Which of them there are. @throws LogUnavailableError */
  async existing(topics: readonly string[]): Promise<string[]> {
    const all = new Set(await this.#ask((admin) => admin.listTopics({})));
    return topics.filter((topic) => all.has(topic));
  }

  /** @throws LogUnavailableError */
  async ping(timeoutMs: number): Promise<void> {
    await within(
      timeoutMs,
      this.#ask((admin) => admin.metadata({ topics: [], forceUpdate: true, retries: 0 }), timeoutMs),
    );
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#admin !== undefined) await closeQuietly(this.#admin);
  }

  async #create(topic: string): Promise<void> {
    const { partitions, replicas, retentionMs } = this.#settings;
    const segmentMs = Math.max(Math.floor(retentionMs / SEGMENTS_A_RETENTION), MIN_SEGMENT_MS);
    const configs = Object.entries({
      'retention.ms': retentionMs,
      'segment.ms': segmentMs,
      'max.message.bytes': MAX_MESSAGE_BYTES,
    }).map(([name, value]) => ({ name, value: `${value}` }));
    try {
      await this.#ask((admin) => admin.createTopics({ topics: [topic], partitions, replicas, configs }));
    } catch (error) {
      // Somebody else was faster. A list of what there is may not have it yet; #ready waits for that.
      if (!saysThatItExists(error)) throw error;
    }
    await this.#ready(topic);
  }

  async #ready(topic: string): Promise<void> {
    const deadlineMs = performance.now() + READY_DEADLINE_MS;
    for (;;) {
      try {
        const { topics } = await this.#ask((admin) => admin.metadata({ topics: [topic], forceUpdate: true }));
        if (topics.get(topic)?.partitions.every(({ leader }) => leader >= 0)) return;
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
      }
      await delay(READY_POLL_MS);
    }
  }

  async #ask<T>(question: (admin: Admin) => Promise<T>, timeoutMs = READY_DEADLINE_MS): Promise<T> {
    // Of topics that are being made, whoever waited for them may have gone.
    if (this.#isClosed) throw new LogUnavailableError('the log is closed');
    this.#admin ??= this.#clients.admin();
    const admin = this.#admin;
    try {
      return await within(timeoutMs, question(admin));
    } catch (error) {
      if (this.#admin === admin) this.#admin = undefined;
      void closeQuietly(admin);
      throw unavailable(error);
    }
  }
}

/** Errors of several brokers, and of several topics, are within one another. */
function saysThatItExists(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('apiId' in error && error.apiId === 'TOPIC_ALREADY_EXISTS') return true;
  const inner = error instanceof AggregateError ? error.errors : [];
  return [error.cause, ...inner].some(saysThatItExists);
}
