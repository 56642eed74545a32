import { setTimeout as delay } from 'node:timers/promises';
import { Claims } from './kafka-claims.ts';
import { type KafkaClients, unavailable } from './kafka-clients.ts';
import { KafkaMembership } from './kafka-membership.ts';
import { KafkaSession } from './kafka-session.ts';
import type { KafkaTopics } from './kafka-topics.ts';
import type { ConsumeOptions, LogConsumer } from './log.ts';
import { retryPauseMs } from './retry-pause.ts';

/** In a row: by then the group has missed its member, and it is better to begin anew. */
const MAX_SESSION_FAILURES = 8;

/** A member of its group for as long as that goes, and then anew, until it is closed. */
export class KafkaConsumer implements LogConsumer {
  readonly #clients: KafkaClients;
  readonly #topics: KafkaTopics;
  readonly #options: ConsumeOptions;
  readonly #onClosed: () => void;
  readonly #running: Promise<void>;
  readonly #claims = new Claims();
  #closing = false;
  #wake: () => void = () => undefined;

  constructor(clients: KafkaClients, topics: KafkaTopics, options: ConsumeOptions, onClosed: () => void) {
    this.#clients = clients;
    this.#topics = topics;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#closing; ) {
      const { group, topics } = this.#options;
      const member = new KafkaMembership(this.#clients, group, topics, () => this.#wake());
      try {
        await this.#orClosing(this.#topics.ensure(topics).then(() => (this.#closing ? undefined : member.join())));
        const session = new KafkaSession(this.#clients, member, this.#options, this.#claims);
        try {
          while (!this.#closing && member.failure === undefined && session.failures < MAX_SESSION_FAILURES) {
            await session.step(
              (promise) => this.#orClosing(promise),
              () => this.#closing,
            );
            failures = session.failures;
            if (failures > 0) await this.#orClosing(delay(retryPauseMs(failures), undefined, { ref: false }));
          }
          if (member.failure !== undefined && !this.#closing) throw member.failure;
        } finally {
          await session.close();
        }
      } catch (error) {
        this.#options.onError(unavailable(error));
        this.#topics.forget();
        failures++;
        await this.#orClosing(delay(retryPauseMs(failures), undefined, { ref: false }));
      } finally {
        await member.leave();
      }
    }
    this.#onClosed();
  }

  /** Waits for a promise, or for something that can't wait for it. */
  async #orClosing(promise: Promise<unknown>): Promise<void> {
    promise.catch(() => undefined);
    if (this.#closing) return;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([promise, woken]);
  }
}
