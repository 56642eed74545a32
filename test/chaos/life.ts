import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@connectrpc/connect';
import { Phase, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import type { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { Deployment } from '../support/deployment.ts';
import { newMessage } from '../support/publishers.ts';
import { acknowledgement, Book, type Judgement, judge, type PartsOf } from './judge.ts';
import { habitsFor, listen } from './listening.ts';
import { type Producer, type Publishing, WAYS_IN } from './publishing.ts';
import type { Random } from './random.ts';
import type { Leaps } from './redis-clock-faults.ts';
import type { Stored } from './redis-world.ts';
import { partsOf as partsIn, type Wording, wordingFor } from './wording.ts';

export interface LifeOptions {
  readonly deployment: Deployment;
  readonly publishing: Publishing;
  readonly client: Client<typeof StreamService>;
  /** What Redis has of a channel. @throws while it does not answer */
  readonly readLog: (channel: string) => Promise<Stored>;
  readonly leaps: Leaps;
  /** Of what is acknowledged. */
  readonly redisLosesNothing: boolean;
  readonly random: Random;
  /** Of the publisher, if nothing is in its way. */
  readonly lengthMs: number;
  /** Aborted: the publisher comes to its end. */
  readonly ending: AbortSignal;
}

/** How long listeners may take to the END of a stream, from when it is acknowledged; faults go on meanwhile. */
const END_DEADLINE_MS = 60_000;
const LOOK_MS = 1_000;
/** How long Redis may take to say what it has, once it is to be judged. */
const LOG_DEADLINE_MS = 30_000;
/** How long what Redis did may be under way to publishers and listeners. */
const UNDER_WAY_MS = 3_000;
const MAX_NOTES = 2_000;
/** So often a publisher says something again, as one does that never saw the answer. */
const REPEATS = 0.03;

/** One stream from its START until everything about it is known; `details` are for who has to explain a flaw. */
export async function live(options: LifeOptions): Promise<Judgement & { readonly details: readonly string[] }> {
  const { deployment, publishing, client, random, lengthMs, readLog } = options;
  const channel = await deployment.newChannel();
  const isOver = new AbortController();
  const seenMs = new Map<string, number>();
  const onSeen = (id: string) => {
    if (!seenMs.has(id)) seenMs.set(id, performance.now());
  };
  const mayHaveExpired = (id: string) => options.leaps.since((seenMs.get(id) ?? performance.now()) - UNDER_WAY_MS);
  const wording = wordingFor(random.fork());
  const partsOf: PartsOf = (payload, sequence) => partsIn(payload, sequence, wording);
  const books: Book[] = [];
  const listening = habitsFor(random, lengthMs).map((habit, n) => {
    const leaves = habit.staysMs === undefined ? '' : ' that comes and goes';
    const book = new Book(channel.id, `${channel.id}, ${habit.way} ${n}${leaves}`, { onReceived: onSeen, partsOf });
    books.push(book);
    return listen({ deployment, client, channel, habit, book, signal: isOver.signal });
  });
  const way = random.oneOf(WAYS_IN);
  const story = new Story({ ...options, wording, onSeen }, channel.id);
  await publishing.way(way)(story);
  await untilHeard(options, story, Promise.all(listening));
  isOver.abort();
  const failures = (await Promise.all(listening)).filter((failure) => failure !== undefined);

  const { log } = await whenItAnswers(() => readLog(channel.id));
  const { promises, acknowledgements } = story;
  const losesNothing = options.redisLosesNothing;
  const acknowledged = [...acknowledgements];
  const { verdict, counts, flaws } = judge({ log, promises, books, mayHaveExpired, acknowledged, losesNothing });
  const stored = log.map(({ id, prev, sequence }) => `${sequence} at ${id} after ${prev}`);
  return {
    verdict: { ...verdict, stuck: verdict.stuck + failures.length },
    counts,
    flaws: [...flaws, ...failures].map((flaw) => `${flaw} (published by ${way})`),
    details: ['Redis has', ...stored, 'the publisher, by ms', ...story.notes],
  };
}

/** Until all listeners are at the end. A failover may take an acknowledged END back: then it has to be said again. */
async function untilHeard({ publishing, readLog }: LifeOptions, story: Story, heard: Promise<unknown>): Promise<void> {
  const isHeard = new AbortController();
  void heard.then(() => isHeard.abort());
  const { signal } = isHeard;
  const deadlineMs = performance.now() + END_DEADLINE_MS;
  while (!signal.aborted && performance.now() < deadlineMs) {
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const stored = await readLog(story.channel).catch(() => undefined);
    if (stored === undefined || stored.isSealed) continue;
    await publishing.way('http')(story.endAgain());
  }
}

interface StoryOptions extends LifeOptions {
  readonly wording: Wording;
  /** Of an id that was answered. */
  readonly onSeen: (id: string) => void;
}

/** What one publisher says, and what it was promised. */
class Story implements Producer {
  readonly channel: string;
  readonly paceMs: number;
  readonly promises = new Map<number, Set<string>>();
  /** In the order in which they were. */
  readonly acknowledgements = new Set<string>();
  /** The latest of what was done. */
  readonly notes: string[] = [];
  readonly #orgId: bigint;
  readonly #count: number;
  readonly #ending: AbortSignal;
  readonly #random: Random;
  #sequence = 0;
  #acknowledged: PublishRequest | undefined;
  #end: PublishRequest | undefined;
  readonly #leaps: Leaps;
  readonly #wording: Wording;
  readonly #onSeen: (id: string) => void;
  readonly #begunMs = performance.now();

  constructor({ deployment, random, lengthMs, ending, leaps, wording, onSeen }: StoryOptions, channel: string) {
    this.channel = channel;
    this.paceMs = random.whole(15, 90);
    this.#orgId = deployment.orgId;
    this.#count = Math.max(3, Math.round(lengthMs / this.paceMs));
    this.#ending = ending;
    this.#random = random.fork();
    this.#leaps = leaps;
    this.#wording = wording;
    this.#onSeen = onSeen;
  }

  get end(): PublishRequest {
    if (this.#end === undefined) throw new Error('it has not come to its end');
    return this.#end;
  }

  next(): PublishRequest | undefined {
    if (this.#end !== undefined) return undefined;
    if (this.#acknowledged !== undefined && this.#random.next() < REPEATS) return this.#acknowledged;
    const isLast = this.#sequence >= this.#count || (this.#ending.aborted && this.#sequence > 0);
    const phase = isLast ? Phase.END : this.#sequence === 0 ? Phase.START : Phase.DELTA;
    const sequence = this.#sequence++;
    const message = newMessage(this.#orgId, this.channel, phase, sequence);
    message.payload = this.#wording.payloadOf(sequence);
    const { coalesceWindowMs } = this.#wording;
    if (phase === Phase.START && coalesceWindowMs !== undefined) message.coalesceWindowMs = coalesceWindowMs;
    if (isLast) this.#end = message;
    return message;
  }

  note(what: string): void {
    this.notes.push(`${Math.round(performance.now() - this.#begunMs)} ${what}`);
    if (this.notes.length > MAX_NOTES) this.notes.shift();
  }

  acknowledged(message: PublishRequest, id: string): void {
    this.note(`${message.sequence} is at ${id}`);
    this.#acknowledged = message;
    this.#onSeen(id);
    this.acknowledgements.add(acknowledgement(id, Number(message.sequence)));
    const sequence = Number(message.sequence);
    const ids = this.promises.get(sequence);
    if (ids === undefined) this.promises.set(sequence, new Set([id]));
    else ids.add(id);
  }

  /** It has said END, and the log that would know what else it said may be gone. */
  isToBeSealed(): boolean {
    return this.#end !== undefined && this.#leaps.since(this.#begunMs);
  }

  endAgain(): Producer {
    const left = [this.end];
    return {
      paceMs: 0,
      next: () => left.pop(),
      acknowledged: (message, id) => this.acknowledged(message, id),
      note: (what) => this.note(what),
      isToBeSealed: () => this.isToBeSealed(),
    };
  }
}

async function whenItAnswers<T>(ask: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + LOG_DEADLINE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
      await delay(500);
    }
  }
}
