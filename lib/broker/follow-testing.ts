import { onTestFinished } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, BrokerUnavailableError, type ChannelKey, channelKey, type Entry } from './broker.ts';
import type { EntryId } from './entry-id.ts';
import { Follower, type Notice, type Reader } from './follow.ts';
import { createMemoryBroker } from './memory-broker.ts';

/** What the tests of following a channel share: a broker that can be cut, readers that note what they are told. */

export const CHANNEL = channelKey(1n, '97f58c19-ce38-4c6b-8a5b-47f3405691f0');
const NO_LIMIT = { name: 'unary', perSec: 0 } as const;
/** For what never comes, not for what is slow. */
export const PATIENCE_MS = 10_000;

/** A real broker in memory whose live delivery and answers a test can cut, as a network would. */
export function cuttable(options: Parameters<typeof createMemoryBroker>[0] = {}) {
  const broker = createMemoryBroker(options);
  const line = {
    live: true,
    answers: true,
    /** Whether the log can be read; last ids are compared all the same. */
    reads: true,
    silent: undefined as ChannelKey | undefined,
    refused: 0,
    /** What is published live and still under way; undefined: nothing takes any time. */
    late: undefined as (() => void)[] | undefined,
    /** Called when the log was read, and before the answer arrives. */
    onRead: () => {},
  };
  let interrupted = () => {};
  const answer = <T>(value: () => Promise<T>): Promise<T> => (line.answers ? value() : refuse());
  const refuse = (): Promise<never> => {
    line.refused++;
    return Promise.reject(new BrokerUnavailableError('cut'));
  };
  const cut: Broker = {
    name: broker.name,
    decisions: broker.decisions,
    publish: (...args) => broker.publish(...args),
    publishMany: (...args) => broker.publishMany(...args),
    read: (...args) =>
      answer(async () => {
        if (!line.reads) return refuse();
        const read = await broker.read(...args);
        line.onRead();
        return read;
      }),
    tails: (channels) =>
      answer(async () => {
        const tails = await broker.tails(channels);
        return tails.map((tail, n) => (channels[n] === line.silent ? undefined : tail));
      }),
    listen: (channel, onEntry) =>
      answer(() =>
        broker.listen(channel, (entry) => {
          if (!line.live) return;
          if (line.late === undefined) onEntry(entry);
          else line.late.push(() => onEntry(entry));
        }),
      ),
    onInterruption: (callback) => {
      interrupted = callback;
    },
    governIdle: (...args) => broker.governIdle(...args),
    endIdle: (...args) => broker.endIdle(...args),
    ping: (timeoutMs) => broker.ping(timeoutMs),
    close: () => broker.close(),
  };
  onTestFinished(() => void broker.close());
  const arrive = () => {
    const late = line.late ?? [];
    line.late = undefined;
    for (const deliver of late) deliver();
  };
  return { broker: cut, line, arrive, interrupt: () => interrupted() };
}

export function follow(broker: Broker, options: { tailCheckMs?: number; patienceMs?: number } = {}) {
  const follower = new Follower<Entry>({
    broker,
    share: (entry) => entry,
    tailCheckMs: 20,
    onError: (error) => {
      throw error;
    },
    ...options,
  });
  onTestFinished(() => follower.close());
  return follower;
}

export class Notes implements Reader<Entry> {
  readonly texts: string[] = [];
  readonly ids: EntryId[] = [];
  readonly notices: { notice: Notice; cursor: EntryId | undefined }[] = [];
  /** Both, in their order: texts, and notices in brackets. */
  readonly heard: string[] = [];
  finished: string | undefined;
  busy: Promise<void> | undefined;
  deliver(entry: Entry): void {
    const text = new TextDecoder().decode(entry.data);
    this.ids.push(entry.id);
    this.texts.push(text);
    this.heard.push(text);
  }
  control(notice: Notice, cursor: EntryId | undefined): void {
    this.notices.push({ notice, cursor });
    this.heard.push(`(${notice.type})`);
  }
  finish(reason: string): void {
    this.finished = reason;
  }
  congested(): Promise<void> | undefined {
    return this.busy;
  }
}

let sequence = 0n;
export async function publish(broker: Broker, text: string, phase: Phase = Phase.DELTA, channel: ChannelKey = CHANNEL) {
  const message = { messageId: crypto.randomUUID(), phase, sequence: sequence++, data: new TextEncoder().encode(text) };
  const result = await broker.publish(channel, message, NO_LIMIT);
  if (result.kind !== 'stored') throw new Error(result.kind);
  return result.id;
}

export const texts = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`);
