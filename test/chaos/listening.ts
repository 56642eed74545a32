import { setTimeout as delay } from 'node:timers/promises';
import type { JsonObject } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import type { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { Receipts, type Told } from '../support/checker.ts';
import type { Channel, Deployment } from '../support/deployment.ts';
import { RpcListener } from '../support/rpc-listener.ts';
import { SseListener } from '../support/sse-listener.ts';
import type { Book } from './judge.ts';
import type { Random } from './random.ts';

export const WAYS_OUT = ['browser', 'browser with controls', 'typed'] as const;
export type WayOut = (typeof WAYS_OUT)[number];

/** How one listener behaves: it comes after so long, and leaves and returns, or stays. */
export interface Habit {
  readonly way: WayOut;
  readonly comesAfterMs: number;
  /** Undefined: it stays. */
  readonly staysMs: number | undefined;
  readonly awayMs: number;
}

/** What a stream's listeners do is the seed's as well. */
export function habitsFor(random: Random, lifeMs: number): Habit[] {
  const stays = { comesAfterMs: 0, staysMs: undefined, awayMs: 0 };
  return [
    ...WAYS_OUT.map((way) => ({ way, ...stays })),
    { way: random.oneOf(WAYS_OUT), comesAfterMs: random.whole(0, lifeMs), staysMs: undefined, awayMs: 0 },
    {
      way: random.oneOf(WAYS_OUT),
      comesAfterMs: random.whole(0, lifeMs / 2),
      staysMs: random.whole(200, 3_000),
      awayMs: random.whole(50, 3_000),
    },
  ];
}

export interface ListeningOptions {
  readonly deployment: Deployment;
  readonly client: Client<typeof StreamService>;
  readonly channel: Channel;
  readonly habit: Habit;
  readonly book: Book;
  /** Aborted: nothing is to be expected any more. */
  readonly signal: AbortSignal;
}

const POLL_MS = 50;

/** Listens until the stream has ended for it. Resolves with what it can't be excused for, if there is such a thing. */
export async function listen(options: ListeningOptions): Promise<string | undefined> {
  const { habit, book, signal } = options;
  const pause = (ms: number) => delay(ms, undefined, { signal }).catch(() => undefined);
  await pause(habit.comesAfterMs);
  let lastEventId = '';
  while (!signal.aborted) {
    const visit = new Visit(book);
    const listener = come(options, visit, lastEventId);
    const leavesMs = performance.now() + (habit.staysMs ?? Number.POSITIVE_INFINITY);
    try {
      while (!signal.aborted && performance.now() < leavesMs) {
        if (hasEnded(listener, book)) break;
        const failure = failureOf(listener);
        if (failure !== undefined) return `${book.name}: ${failure}`;
        await pause(POLL_MS);
      }
      if (hasEnded(listener, book)) {
        book.hasEnded = true;
        return undefined;
      }
    } finally {
      visit.isOver = true;
      listener.close();
    }
    lastEventId = listener.lastEventId;
    await pause(habit.awayMs);
  }
  return undefined;
}

/** What was on its way when it left does not count: it comes again. */
class Visit extends Receipts {
  isOver = false;
  readonly #book: Book;

  constructor(book: Book) {
    super(book.channel);
    this.#book = book;
  }

  override record(id: string, sequence: number, payload?: JsonObject): void {
    if (!this.isOver) this.#book.record(id, sequence, payload);
  }

  override control(told: Told): void {
    if (!this.isOver) this.#book.control(told);
  }
}

function come({ deployment, client, channel, habit }: ListeningOptions, receipts: Receipts, lastEventId: string) {
  const { orgId, edge } = deployment;
  if (habit.way === 'typed') {
    return new RpcListener({ client, orgId, token: channel.token, receipts, lastEventId });
  }
  const controls = habit.way === 'browser' ? '' : '&controls=1';
  const url = `${edge.url}/events/${orgId}?token=${channel.token}&channel_id=${channel.id}${controls}`;
  return new SseListener({ url, receipts, lastEventId });
}

/** An END, or a word that there will be none: to browsers that return a 204, to typed listeners the end of a response. */
function hasEnded(listener: RpcListener | SseListener, book: Book): boolean {
  if (listener.hasEnded || (listener instanceof SseListener && listener.state === 'stopped')) return true;
  if (listener instanceof RpcListener && listener.wasToldAll) return true;
  const last = book.events.at(-1);
  return last?.kind === 'control' && (last.type === 'producer_lost' || (last.type === 'expired' && last.cursor !== ''));
}

function failureOf(listener: RpcListener | SseListener): string | undefined {
  if (listener instanceof SseListener) {
    return listener.failedWith === undefined ? undefined : `was answered ${listener.failedWith}`;
  }
  return listener.failure === undefined ? undefined : `failed with ${listener.failure.message}`;
}
