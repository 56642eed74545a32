import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaClients } from './kafka-clients.ts';
import { unavailable } from './kafka-clients.ts';
import { KafkaMembership, type Position } from './kafka-membership.ts';
import { KafkaReader, OutOfRangeError, type ReadResult, UNKNOWN_EPOCH } from './kafka-reader.ts';
import type { KafkaTopics } from './kafka-topics.ts';
import { type ConsumeOptions, EndLostError, type LogConsumer, type LogRecord, RecordsLostError } from './log.ts';
import { retryPauseMs } from './retry-pause.ts';
import { within } from './within.ts';

/** A partition that this member has. */
interface Claim {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  position: bigint;
  /** Of the leader that took the record before the position, and every one since that position. */
  epoch: number;
  epochSince: bigint;
  failures: number;
  pausedUntilMs: number;
}

interface Read {
  readonly leader: number;
  readonly generation: number;
  /** Never rejects. */
  readonly done: Promise<void>;
  results?: readonly ReadResult[];
  failure?: unknown;
}

/** A broker answers a read at once where there is something, else after so long. */
const READ_WAIT_MS = 500;
const READ_DEADLINE_MS = 15_000;
const COMMIT_DEADLINE_MS = 10_000;
/** In a row: by then the group has missed its member, and it is better to begin anew. */
const MAX_SESSION_FAILURES = 8;

/** Reads from each broker that leads some of its partitions, a bounded piece at a time, and hands over one batch at a time. */
export class KafkaConsumer implements LogConsumer {
  readonly #clients: KafkaClients;
  readonly #topics: KafkaTopics;
  readonly #options: ConsumeOptions;
  readonly #onClosed: () => void;
  readonly #running: Promise<void>;
  /** Outlive sessions: where a leader goes, its group is often lost with it. */
  readonly #claims = new Map<string, Claim>();
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
        const session = new Session(this.#clients, member, this.#options, this.#claims);
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

/** What a member does between its joining and its leaving. */
class Session {
  readonly #clients: KafkaClients;
  readonly #member: KafkaMembership;
  readonly #options: ConsumeOptions;
  #reader: KafkaReader;
  readonly #claims: Map<string, Claim>;
  #generation = -1;
  /** One for each broker at most. */
  readonly #reads = new Map<number, Read>();
  /** What was handled, and the group doesn't know yet. */
  readonly #uncommitted = new Map<string, Position>();
  #committing: Promise<void> | undefined;
  #commitFailure: unknown;
  /** Of the brokers, in a row. */
  failures = 0;

  constructor(clients: KafkaClients, member: KafkaMembership, options: ConsumeOptions, claims: Map<string, Claim>) {
    this.#clients = clients;
    this.#member = member;
    this.#options = options;
    this.#claims = claims;
    this.#reader = new KafkaReader(clients, options.topics);
  }

  /** Takes what has been read, and reads on. */
  async step(wait: (promise: Promise<unknown>) => Promise<void>, isClosing: () => boolean): Promise<void> {
    try {
      this.#throwCommitFailure();
      if (this.#generation !== this.#member.generation) await this.#learnPositions();
      this.#commitSoon();
      await this.#beginReads();
      const reads = [...this.#reads.values()];
      await wait(reads.length > 0 ? Promise.race(reads.map(({ done }) => done)) : delay(READ_WAIT_MS));
      for (const read of reads) {
        if (read.results === undefined && read.failure === undefined) continue;
        this.#reads.delete(read.leader);
        if (read.failure !== undefined) throw read.failure;
        if (read.generation === this.#generation) await this.#take(read.results ?? [], isClosing);
      }
      this.failures = 0;
    } catch (error) {
      if (error instanceof OutOfRangeError) return this.#returnIntoRange();
      this.failures++;
      this.#options.onError(unavailable(error));
      this.#replaceReader();
    }
  }

  async close(): Promise<void> {
    await this.#committed().catch(this.#options.onError);
    await this.#reader.close();
  }

  /** Of a broker that was away, sessions and cached answers are of no use. */
  #replaceReader(): void {
    void this.#reader.close();
    this.#reader = new KafkaReader(this.#clients, this.#options.topics);
    this.#reads.clear();
  }

  async #learnPositions(): Promise<void> {
    await this.#committed();
    const generation = this.#member.generation;
    const [positions, partitions] = await Promise.all([
      within(READ_DEADLINE_MS, this.#member.positions()),
      within(READ_DEADLINE_MS, this.#reader.partitions()),
    ]);
    const ids = new Map(partitions.map(({ topic, topicId }) => [topic, topicId]));
    const begin = positions.some(({ offset }) => offset === undefined)
      ? (await within(READ_DEADLINE_MS, this.#reader.ends())).earliest
      : undefined;
    const claims = positions.map(({ topic, partition, offset }): Claim => {
      const before = this.#claims.get(keyOf(topic, partition));
      const topicId = ids.get(topic) ?? '';
      const position = offset ?? begin?.get(topic)?.[partition] ?? 0n;
      const isKnown = before?.topicId === topicId && before.epochSince <= position && position <= before.position;
      return {
        ...{ topic, topicId, partition, position },
        epoch: isKnown ? before.epoch : UNKNOWN_EPOCH,
        epochSince: isKnown ? before.epochSince : position,
        failures: before?.failures ?? 0,
        pausedUntilMs: before?.pausedUntilMs ?? 0,
      };
    });
    this.#claims.clear();
    for (const claim of claims) this.#claims.set(keyOf(claim.topic, claim.partition), claim);
    this.#generation = generation;
  }

  async #beginReads(): Promise<void> {
    const nowMs = performance.now();
    const paused = [...this.#claims.values()].filter(({ pausedUntilMs }) => pausedUntilMs > nowMs);
    // A pause that ends meanwhile is not to wait for records of other partitions.
    const waitMs = Math.min(READ_WAIT_MS, ...paused.map(({ pausedUntilMs }) => pausedUntilMs - nowMs));
    const byLeader = new Map<number, Claim[]>();
    for (const { topic, partition, leader } of await within(READ_DEADLINE_MS, this.#reader.partitions())) {
      const claim = this.#claims.get(keyOf(topic, partition));
      if (claim === undefined || paused.includes(claim) || this.#reads.has(leader)) continue;
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), claim]);
    }
    for (const [leader, claims] of byLeader) this.#reads.set(leader, this.#beginRead(leader, claims, waitMs));
  }

  #beginRead(leader: number, claims: readonly Claim[], waitMs: number): Read {
    const reading = this.#reader.read(
      leader,
      claims.map(({ topic, topicId, partition, position, epoch }) => ({ topic, topicId, partition, position, epoch })),
      this.#options.maxBatchBytes,
      waitMs,
    );
    const read: Read = {
      leader,
      generation: this.#generation,
      done: within(READ_DEADLINE_MS, reading).then(
        (results) => {
          read.results = results;
        },
        (error: unknown) => {
          read.failure = error;
        },
      ),
    };
    return read;
  }

  async #take(results: readonly ReadResult[], isClosing: () => boolean): Promise<void> {
    for (const result of results) {
      const { topic, partition, position, nextPosition, parting } = result;
      const claim = this.#claims.get(keyOf(topic, partition));
      if (claim === undefined || claim.position !== position) continue;
      if (parting !== undefined) {
        if ((await this.#tellLostEnd(claim, parting.offset)) !== undefined)
          this.#move(claim, parting.offset, parting.epoch);
        continue;
      }
      const isDone = await this.#handleAll(claim, result, isClosing);
      // Behind the last record there may be what is none.
      if (isDone && nextPosition > claim.position) this.#advance(claim, nextPosition, result);
    }
  }

  /** Whether all are handled. */
  async #handleAll(claim: Claim, result: ReadResult, isClosing: () => boolean): Promise<boolean> {
    const { topic, topicId, partition } = claim;
    const { records: all } = result;
    for (let start = 0; start < all.length; ) {
      const end = this.#batchEnd(all, start);
      const records = all.slice(start, end);
      if (isClosing()) return false;
      try {
        await this.#options.handle({ topic, topicId, partition, records });
      } catch (error) {
        this.#pause(claim, error);
        return false;
      }
      claim.failures = 0;
      this.#advance(claim, (records.at(-1)?.offset ?? claim.position) + 1n, result);
      // The partition may be another's by now.
      if (this.#generation !== this.#member.generation) return false;
      start = end;
    }
    return true;
  }

  #batchEnd(records: readonly LogRecord[], start: number): number {
    const { maxBatchRecords, maxBatchBytes } = this.#options;
    let bytes = 0;
    let end = start;
    for (; end < records.length && end - start < maxBatchRecords; end++) {
      const { key, value } = records[end] ?? { key: '', value: '' };
      bytes += key.length + value.length;
      if (end > start && bytes > maxBatchBytes) break;
    }
    return end;
  }

  #pause(claim: Claim, error: unknown): void {
    claim.failures++;
    claim.pausedUntilMs = performance.now() + retryPauseMs(claim.failures);
    this.#options.onError(error);
  }

  #advance(claim: Claim, position: bigint, { epochs }: ReadResult): void {
    this.#move(claim, position, epochs.find(({ end }) => end >= position)?.epoch ?? UNKNOWN_EPOCH);
  }

  #move(claim: Claim, position: bigint, epoch: number): void {
    if (epoch !== claim.epoch || position < claim.position) claim.epochSince = position;
    claim.epoch = epoch;
    claim.position = position;
    const { topic, partition } = claim;
    this.#uncommitted.set(keyOf(topic, partition), { topic, partition, offset: position });
    this.#commitSoon();
  }

  /** Beside the next batch: a commit takes as long as a small batch, and what is handled meanwhile goes with the next one. */
  #commitSoon(): void {
    this.#committing ??= this.#commitAll().then(
      () => {
        this.#committing = undefined;
      },
      (error: unknown) => {
        this.#committing = undefined;
        this.#commitFailure = error;
      },
    );
  }

  async #commitAll(): Promise<void> {
    for (;;) {
      for (const [key, { topic, partition }] of this.#uncommitted) {
        // Of partitions that have moved to another member, its word counts.
        if (!this.#member.isAssigned(topic, partition)) this.#uncommitted.delete(key);
      }
      if (this.#uncommitted.size === 0) return;
      const positions = [...this.#uncommitted];
      await within(COMMIT_DEADLINE_MS, this.#member.commit(positions.map(([, position]) => position)));
      for (const [key, position] of positions) {
        if (this.#uncommitted.get(key) === position) this.#uncommitted.delete(key);
      }
    }
  }

  /** All that was handled until now. */
  async #committed(): Promise<void> {
    do {
      this.#commitSoon();
      await this.#committing;
      this.#throwCommitFailure();
    } while (this.#uncommitted.size > 0);
  }

  #throwCommitFailure(): void {
    const failure = this.#commitFailure;
    this.#commitFailure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Undefined: whoever has to know it could not be told. */
  async #tellLostEnd(claim: Claim, offset: bigint): Promise<boolean | undefined> {
    const { topic, topicId, partition, position: handledUntil } = claim;
    const lost = { topic, topicId, partition, offset, handledUntil };
    try {
      const isHandled = (await this.#options.onEndLost?.(lost)) ?? claim.epoch !== UNKNOWN_EPOCH;
      claim.failures = 0;
      if (isHandled) this.#options.onError(new EndLostError(lost));
      return isHandled;
    } catch (error) {
      this.#pause(claim, error);
      return undefined;
    }
  }

  /** Out of partitions that retention was faster in, that were made anew, or that have lost their end. */
  async #returnIntoRange(): Promise<void> {
    try {
      const { earliest, latest } = await within(READ_DEADLINE_MS, this.#reader.ends());
      for (const claim of this.#claims.values()) {
        const begin = earliest.get(claim.topic)?.[claim.partition] ?? 0n;
        const end = latest.get(claim.topic)?.[claim.partition] ?? begin;
        if (claim.position < begin) {
          this.#options.onError(new RecordsLostError(claim, begin - claim.position));
          this.#move(claim, begin, UNKNOWN_EPOCH);
        } else if (claim.position > end && claim.pausedUntilMs <= performance.now()) {
          // A topic that was made anew has another id, of which nothing was handled.
          const isHandled = await this.#tellLostEnd(claim, end);
          if (isHandled !== undefined) this.#move(claim, isHandled ? end : begin, UNKNOWN_EPOCH);
        }
      }
    } catch (error) {
      this.failures++;
      this.#options.onError(unavailable(error));
    }
    this.#replaceReader();
  }
}

function keyOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
