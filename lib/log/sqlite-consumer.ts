import { randomUUID } from 'node:crypto';
import { type ConsumeOptions, type LogConsumer, RecordsLostError } from './log.ts';
import { retryPauseMs } from './retry-pause.ts';
import type { Claim, Member, SqliteGroups } from './sqlite-groups.ts';
import type { SqliteReader } from './sqlite-reader.ts';

/** How soon a group notices that a member has come or gone. */
const RENEW_MS = 500;
/**
 * A handler's transaction is synced however little is in it, and that costs more than what is in it: under load rounds
 * begin so far apart at least, so that each has something to do. What comes after silence is handled at once.
 */
const ROUND_MS = 50;
/** Of a partition: behind so many more are waiting, and nothing is gained by waiting, too. */
const PLENTY_RECORDS = 64;

type Found = 'nothing' | 'some' | 'plenty';

interface Retry {
  failures: number;
  atMs: number;
}

/** Hands batches of the partitions that it has to the handler, one after the other, in turn. */
export class SqliteConsumer implements LogConsumer {
  readonly #reader: SqliteReader;
  readonly #groups: SqliteGroups;
  readonly #options: ConsumeOptions;
  readonly #member: Member;
  readonly #onClosed: () => void;
  /** By the number of the partition in the file, with the position after what was handled. */
  #claims = new Map<number, Claim>();
  readonly #retries = new Map<number, Retry>();
  #handling: Claim | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #renewing: Promise<void> = Promise.resolve();
  #renewFailures = 0;
  #knowsAllTopics = false;
  #closing = false;
  #wake: () => void = () => undefined;
  readonly #running: Promise<void>;

  constructor(reader: SqliteReader, groups: SqliteGroups, options: ConsumeOptions, onClosed: () => void) {
    this.#reader = reader;
    this.#groups = groups;
    this.#options = options;
    this.#member = { group: options.group, id: randomUUID(), topics: options.topics };
    this.#onClosed = onClosed;
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#renewSoon(0);
    while (!this.#closing) {
      const version = this.#version();
      const beganMs = performance.now();
      const found = await this.#round();
      if (found === 'nothing' && !this.#closing) await this.#pause(version);
      if (found !== 'plenty' && !this.#closing) await this.#gather(beganMs + ROUND_MS - performance.now());
    }
    clearTimeout(this.#renewal);
    await this.#renewing;
    await this.#groups.leave(this.#member).catch(this.#options.onError);
    this.#onClosed();
  }

  /** A batch of each partition that has one. */
  async #round(): Promise<Found> {
    let found: Found = 'nothing';
    for (const id of [...this.#claims.keys()]) {
      if (this.#closing) break;
      const claim = this.#claims.get(id);
      if (claim === undefined || (this.#retries.get(id)?.atMs ?? 0) > performance.now()) continue;
      try {
        const records = await this.#handle(claim);
        this.#retries.delete(id);
        if (records >= PLENTY_RECORDS) found = 'plenty';
        else if (records > 0 && found === 'nothing') found = 'some';
      } catch (error) {
        const failures = (this.#retries.get(id)?.failures ?? 0) + 1;
        if (this.#claims.has(id)) this.#retries.set(id, { failures, atMs: performance.now() + retryPauseMs(failures) });
        this.#options.onError(error);
      }
    }
    return found;
  }

  /** How many records there were. */
  async #handle(claim: Claim): Promise<number> {
    const { maxBatchRecords, maxBatchBytes, handle } = this.#options;
    const { topic, topicId, partition } = claim;
    const records = this.#reader.read(claim.id, claim.position, maxBatchRecords, maxBatchBytes);
    const last = records.at(-1);
    if (last === undefined) return 0;
    this.#handling = claim;
    try {
      await handle({ topic, topicId, partition, records });
      // Offsets have no holes. Where a group has no position yet, nothing was its.
      const lost = Number(records[0]?.offset) - claim.position;
      if (lost > 0 && claim.position > 0) this.#options.onError(new RecordsLostError(claim, BigInt(lost)));
      const position = Number(last.offset) + 1;
      // A process that stood still for long may have lost its claim: who has it now has its own position.
      if (await this.#groups.commit(this.#member, claim, position)) this.#claims.set(claim.id, { ...claim, position });
      else this.#claims.delete(claim.id);
    } finally {
      this.#handling = undefined;
    }
    return records.length;
  }

  async #gather(ms: number): Promise<void> {
    if (ms <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    this.#wake = () => undefined;
    clearTimeout(timer);
  }

  #renewSoon(afterMs: number): void {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(() => {
      this.#renewing = this.#renew();
    }, afterMs);
  }

  async #renew(): Promise<void> {
    try {
      const partitions = this.#reader.partitions(this.#options.topics);
      this.#knowsAllTopics = new Set(partitions.map(({ topic }) => topic)).size === this.#options.topics.length;
      const before = this.#claims;
      const claims = await this.#groups.renew(this.#member, partitions, this.#handling);
      // The position of a batch may have been kept while the answer was under way.
      this.#claims = new Map(
        claims.map((claim) => [
          claim.id,
          { ...claim, position: Math.max(claim.position, this.#claims.get(claim.id)?.position ?? 0) },
        ]),
      );
      for (const id of this.#retries.keys()) if (!this.#claims.has(id)) this.#retries.delete(id);
      if (claims.some(({ id }) => !before.has(id))) this.#wake();
      this.#renewFailures = 0;
    } catch (error) {
      this.#renewFailures++;
      this.#options.onError(error);
    }
    if (!this.#closing) this.#renewSoon(this.#renewFailures === 0 ? RENEW_MS : retryPauseMs(this.#renewFailures));
  }

  /** Until the file changes, another partition is had, a pause is over, or the end. */
  async #pause(version: number | undefined): Promise<void> {
    const nowMs = performance.now();
    const pauses = [...this.#retries.values()].map(({ atMs }) => Math.max(atMs - nowMs, 0));
    let timer: NodeJS.Timeout | undefined;
    let stopListening = () => {};
    let changed = false;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (version === undefined) pauses.push(RENEW_MS);
      else {
        stopListening = this.#reader.onceChanged(version, () => {
          changed = true;
          resolve();
        });
      }
      if (pauses.length > 0) timer = setTimeout(resolve, Math.min(...pauses));
    });
    this.#wake = () => undefined;
    clearTimeout(timer);
    stopListening();
    // It may be the first record of a topic.
    if (changed && !this.#knowsAllTopics && !this.#closing) this.#renewSoon(0);
  }

  #version(): number | undefined {
    try {
      return this.#reader.version();
    } catch (error) {
      this.#options.onError(error);
      return undefined;
    }
  }
}
