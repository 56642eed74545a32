import { setTimeout as delay } from 'node:timers/promises';
import { type Claim, type Claims, lostFrom, type Parting } from './kafka-claims.ts';
import { type KafkaClients, unavailable } from './kafka-clients.ts';
import { KafkaCommits } from './kafka-commits.ts';
import type { KafkaMembership } from './kafka-membership.ts';
import { epochBefore, KafkaReader, OutOfRangeError, type ReadResult, runOf, UNKNOWN_EPOCH } from './kafka-reader.ts';
import { type ConsumeOptions, EndLostError, type LogRecord, RecordsLostError } from './log.ts';
import { retryPauseMs } from './retry-pause.ts';
import { within } from './within.ts';

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

/**
 * What a member does between its joining and its leaving: reads from each broker that leads some of its partitions, a bounded
 * piece at a time, and hands over one batch at a time.
 */
export class KafkaSession {
  readonly #clients: KafkaClients;
  readonly #member: KafkaMembership;
  readonly #options: ConsumeOptions;
  #reader: KafkaReader;
  readonly #claims: Claims;
  readonly #commits: KafkaCommits;
  #generation = -1;
  /** One for each broker at most. */
  readonly #reads = new Map<number, Read>();
  /** Of the brokers, in a row. */
  failures = 0;

  constructor(clients: KafkaClients, member: KafkaMembership, options: ConsumeOptions, claims: Claims) {
    this.#clients = clients;
    this.#member = member;
    this.#options = options;
    this.#claims = claims;
    this.#commits = new KafkaCommits(member);
    this.#reader = new KafkaReader(clients, options.topics);
  }

  /** Takes what has been read, and reads on. */
  async step(wait: (promise: Promise<unknown>) => Promise<void>, isClosing: () => boolean): Promise<void> {
    try {
      this.#commits.throwFailure();
      if (this.#generation !== this.#member.generation) await this.#learnPositions();
      this.#commits.beginSoon();
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
      if (error instanceof OutOfRangeError) return this.#returnIntoRange(error);
      this.failures++;
      this.#options.onError(unavailable(error));
      this.#replaceReader();
    }
  }

  async close(): Promise<void> {
    await this.#commits.finish().catch(this.#options.onError);
    await this.#reader.close();
  }

  /** Of a broker that was away, sessions and cached answers are of no use. */
  #replaceReader(): void {
    void this.#reader.close();
    this.#reader = new KafkaReader(this.#clients, this.#options.topics);
    this.#reads.clear();
  }

  async #learnPositions(): Promise<void> {
    await this.#commits.finish();
    const generation = this.#member.generation;
    const [positions, partitions] = await within(
      READ_DEADLINE_MS,
      Promise.all([this.#member.positions(), this.#reader.partitions()]),
    );
    const isNew = positions.some(({ committed }) => committed === undefined);
    const begin = isNew ? (await within(READ_DEADLINE_MS, this.#reader.ends())).earliest : undefined;
    const ids = new Map(partitions.map(({ topic, topicId }) => [topic, topicId]));
    const places = positions.map(({ topic, partition, committed }) => ({
      ...{ topic, topicId: ids.get(topic) ?? '', partition },
      ...(committed ?? { offset: begin?.get(topic)?.[partition] ?? 0n }),
    }));
    this.#claims.replace(places);
    this.#generation = generation;
  }

  async #askKept(claim: Claim): Promise<void> {
    try {
      const kept = await this.#options.keptPosition?.(claim);
      // Others may have been learnt meanwhile.
      if (this.#claims.find(claim.topic, claim.partition) === claim) this.#claims.place(claim, kept);
    } catch (error) {
      this.#pause(claim, error);
    }
  }

  async #beginReads(): Promise<void> {
    const nowMs = performance.now();
    const asking = [...this.#claims.all()].filter((each) => !each.isPlaced && each.pausedUntilMs <= nowMs);
    if (asking.length > 0) await within(READ_DEADLINE_MS, Promise.all(asking.map((claim) => this.#askKept(claim))));
    const paused = [...this.#claims.all()].filter(({ pausedUntilMs }) => pausedUntilMs > nowMs);
    // A pause that ends meanwhile is not to wait for records of other partitions.
    const waitMs = Math.min(READ_WAIT_MS, ...paused.map(({ pausedUntilMs }) => pausedUntilMs - nowMs));
    const byLeader = new Map<number, Claim[]>();
    for (const { topic, partition, leader } of await within(READ_DEADLINE_MS, this.#reader.partitions())) {
      const claim = this.#claims.find(topic, partition);
      if (claim === undefined || !claim.isPlaced || paused.includes(claim) || this.#reads.has(leader)) continue;
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
      const claim = this.#claims.find(topic, partition);
      if (claim === undefined || claim.position !== position) continue;
      if (parting !== undefined) {
        await this.#part(claim, parting);
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
      const first = all[start];
      if (first === undefined) break;
      const run = runOf(result, first);
      const end = this.#batchEnd(all, start, run.end);
      const records = all.slice(start, end);
      if (isClosing()) return false;
      try {
        await this.#options.handle({ topic, topicId, partition, epoch: run.epoch, records });
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

  /** Of one epoch, which is that of the position after it. */
  #batchEnd(records: readonly LogRecord[], start: number, runEnd: bigint): number {
    const { maxBatchRecords, maxBatchBytes } = this.#options;
    let bytes = 0;
    let end = start;
    for (; end < records.length && end - start < maxBatchRecords; end++) {
      const record = records[end];
      if (record === undefined || record.offset >= runEnd) break;
      bytes += record.key.length + record.value.length;
      if (end > start && bytes > maxBatchBytes) break;
    }
    return end;
  }

  #pause(claim: Claim, error: unknown): void {
    claim.failures++;
    claim.pausedUntilMs = performance.now() + retryPauseMs(claim.failures);
    this.#options.onError(error);
  }

  #advance(claim: Claim, position: bigint, result: ReadResult): void {
    this.#move(claim, position, epochBefore(result, position));
  }

  #move(claim: Claim, offset: bigint, epoch: number): void {
    this.#claims.move(claim, offset, epoch);
    this.#commits.add({ topic: claim.topic, partition: claim.partition, offset, epoch });
  }

  /** Undefined: whoever has to know it could not be told. */
  async #tellLostEnd(claim: Claim, offset: bigint): Promise<boolean | undefined> {
    const { topic, topicId, partition, position: handledUntil } = claim;
    const epoch = claim.epoch === UNKNOWN_EPOCH ? undefined : claim.epoch;
    const lost = { topic, topicId, partition, epoch, offset, handledUntil };
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

  async #part(claim: Claim, parting: Parting): Promise<void> {
    const offset = lostFrom(claim, parting);
    const isHandled = await this.#tellLostEnd(claim, offset);
    if (isHandled === true) this.#move(claim, offset, parting.epoch);
    // A topic that was made anew has another id, of which nothing was handled.
    else if (isHandled === false) this.#move(claim, await this.#beginOf(claim), UNKNOWN_EPOCH);
  }

  async #beginOf({ topic, partition }: Claim): Promise<bigint> {
    const { earliest } = await within(READ_DEADLINE_MS, this.#reader.ends());
    return earliest.get(topic)?.[partition] ?? 0n;
  }

  /** Out of partitions that retention was faster in, that were made anew, or that have lost their end. */
  async #returnIntoRange(outOfRange: OutOfRangeError): Promise<void> {
    try {
      const { earliest, latest } = await within(READ_DEADLINE_MS, this.#reader.ends());
      let isExplained = false;
      for (const claim of this.#claims.all()) {
        const begin = earliest.get(claim.topic)?.[claim.partition] ?? 0n;
        const end = latest.get(claim.topic)?.[claim.partition] ?? begin;
        if (claim.position < begin || claim.position > end) isExplained = true;
        if (claim.position < begin) {
          this.#options.onError(new RecordsLostError(claim, begin - claim.position));
          this.#move(claim, begin, UNKNOWN_EPOCH);
        } else if (claim.position > end && claim.pausedUntilMs <= performance.now()) {
          // A topic that was made anew has another id, of which nothing was handled.
          const isHandled = await this.#tellLostEnd(claim, end);
          if (isHandled !== undefined) this.#move(claim, isHandled ? end : begin, UNKNOWN_EPOCH);
        }
      }
      if (!isExplained) this.#forgetEpochs(outOfRange);
    } catch (error) {
      this.failures++;
      this.#options.onError(unavailable(error));
    }
    this.#replaceReader();
  }

  /** A cluster that was set back to an older state says that it is out of range, of an epoch that it has not come to yet. */
  #forgetEpochs(outOfRange: OutOfRangeError): void {
    this.#options.onError(unavailable(outOfRange));
    for (const claim of this.#claims.all()) this.#move(claim, claim.position, UNKNOWN_EPOCH);
  }
}
