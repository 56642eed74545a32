import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, BrokerUnavailableError, type PublishRate, type PublishResult } from '#lib/broker/broker.ts';
import { BEFORE_ALL } from '#lib/broker/entry-id.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import type { MessageHead } from '#lib/broker/scan-message.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { until } from '../../test/support/until.ts';
import {
  MAX_HELD_MESSAGES,
  MAX_IDLE_LINES,
  MAX_WAITING_BYTES,
  MAX_WAITING_MESSAGES,
  Pipeline,
  type PipelineAnswer,
} from './pipeline.ts';
import { channelOf } from './publish-message.ts';

/** A run that hangs is told as a failure, with what was sent, before the search for a shorter one is ended. */
const MAX_RUN_MS = 10_000;
const MAX_SEARCH_MS = 60_000;
const RATE: PublishRate = { name: 'stream', perSec: 0, counts: 'messages' };

function head(channel: number, sequence: number, phase: Phase = Phase.DELTA): MessageHead {
  const messageId = `0190a8a0-0000-7000-9000-${String(sequence).padStart(12, '0')}`;
  return {
    orgId: 1n,
    channelId: `0190a8a0-0000-7000-8000-${String(channel).padStart(12, '0')}`,
    messageId,
    phase,
    sequence: BigInt(sequence),
  };
}

function open(broker: Broker, rate = RATE) {
  const answers: PipelineAnswer[] = [];
  const failures: unknown[] = [];
  const pipeline: Pipeline = new Pipeline({
    broker,
    rate,
    onAnswers: () => answers.push(...pipeline.take()),
    onFailure: (error) => failures.push(error),
  });
  return { pipeline, answers, failures };
}

const outcome = (answer: PipelineAnswer | undefined) =>
  answer instanceof Refusal ? answer.reason : answer?.duplicate ? 'duplicate' : answer && 'stored';

/** `half`: the rest of what it was asked is over the rate. */
type How = 'works' | 'fails' | 'fails after' | 'half';

/** Fails now and then, before or after it has done what it was asked. */
function flaky(broker: Broker, next: () => How): Broker {
  const publishMany: Broker['publishMany'] = async (channel, messages, rate) => {
    const how = next();
    await new Promise((resolve) => setImmediate(resolve));
    if (how === 'fails') throw new BrokerUnavailableError('away');
    const taken = how === 'half' ? messages.slice(0, messages.length / 2) : messages;
    const results = await broker.publishMany(channel, taken, rate);
    if (how === 'fails after') throw new BrokerUnavailableError('away');
    while (results.length < messages.length) results.push({ kind: 'rate_limited', retryAfterMs: 1 });
    return results;
  };
  const publish: Broker['publish'] = async (channel, message, rate) =>
    (await publishMany(channel, [message], rate))[0] as PublishResult;
  return Object.assign(Object.create(broker), { publish, publishMany });
}

test('a publisher that sends again what it is told to has everything stored once and in order, whatever fails', async () => {
  const property = fc.asyncProperty(
    fc.array(fc.constantFrom<How[]>('works', 'works', 'fails', 'fails after', 'half'), {
      minLength: 1,
      maxLength: 30,
    }),
    fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 }),
    // What is said again without having been refused: how far back, behind each so many.
    fc.option(fc.record({ back: fc.integer({ min: 1, max: 20 }), every: fc.integer({ min: 2, max: 20 }) })),
    async (outcomes, bursts, repeats) => {
      const memory = createMemoryBroker();
      let call = 0;
      const broker = flaky(memory, () => outcomes[call++] ?? 'works');
      const { pipeline, answers, failures } = open(broker);
      const sent: [channel: number, sequence: number][] = [];
      const next = [0, 0];
      const again: [number, number][][] = [[], []];
      let read = 0;
      const send = (channel: number, sequence: number) => {
        sent.push([channel, sequence]);
        pipeline.push(head(channel, sequence), new Uint8Array([sequence % 256]));
        if (repeats && sent.length % repeats.every === 0) send(channel, Math.max(0, sequence - repeats.back));
      };
      // Each burst: what was refused goes first, in its order, then something new.
      for (let turn = 0; turn < 200; turn += 1) {
        const size = bursts[turn];
        if (size === undefined && again.every((list) => list.length === 0)) break;
        for (const channel of [0, 1]) {
          for (const [, sequence] of again[channel]!.splice(0)) send(channel, sequence);
          for (let n = 0; n < (size ?? 0); n += 1) send(channel, next[channel]!++);
        }
        pipeline.flush();
        await until('all is answered', () => answers.length === sent.length);
        for (; read < answers.length; read += 1) {
          const [channel, sequence] = sent[read]!;
          if (answers[read] instanceof Refusal) again[channel]!.push([channel, sequence]);
        }
      }
      expect(failures).toEqual([]);
      for (const channel of [0, 1]) {
        const { entries } = await memory.read(channelOf(head(channel, 0)), BEFORE_ALL, 10_000);
        expect(entries.map(({ data }) => data[0])).toEqual(Array.from({ length: next[channel]! }, (_, n) => n % 256));
      }
      await memory.close();
    },
  );
  await fc.assert(property, { numRuns: 60, timeout: MAX_RUN_MS, interruptAfterTimeLimit: MAX_SEARCH_MS });
}, 90_000);

describe('after a refusal that is worth sending again', () => {
  test('later messages of the channel wait for it, those of others do not', async () => {
    const memory = createMemoryBroker();
    let isAway = true;
    const { pipeline, answers } = open(flaky(memory, () => (isAway ? 'fails' : 'works')));
    pipeline.push(head(0, 0), new Uint8Array(1));
    pipeline.push(head(0, 1), new Uint8Array(1));
    pipeline.flush();
    await until('they are answered', () => answers.length === 2);
    isAway = false;
    pipeline.push(head(0, 1), new Uint8Array(1));
    pipeline.push(head(1, 0), new Uint8Array(1));
    pipeline.push(head(0, 0), new Uint8Array(1));
    pipeline.push(head(0, 1), new Uint8Array(1));
    pipeline.flush();
    await until('they are answered', () => answers.length === 6);
    expect(answers.map(outcome)).toEqual([
      'broker_away',
      'earlier_refused',
      'earlier_refused',
      'stored',
      'stored',
      'stored',
    ]);
    await memory.close();
  });

  test('nobody waits for messages that can never be stored', async () => {
    const memory = createMemoryBroker();
    let isAway = true;
    const { pipeline, answers } = open(flaky(memory, () => (isAway ? 'fails' : 'works')));
    const push = (sequence: number) => pipeline.push(head(0, sequence), new Uint8Array(1));
    push(0);
    push(1);
    push(2);
    pipeline.flush();
    await until('they are answered', () => answers.length === 3);
    isAway = false;
    await memory.publish(channelOf(head(0, 0)), { ...head(0, 9, Phase.END), data: new Uint8Array(1) }, RATE);
    push(0);
    pipeline.flush();
    await until('it is answered', () => answers.length === 4);
    // Who is told that his stream has ended sends nothing of it again.
    push(7);
    pipeline.flush();
    await until('it is answered', () => answers.length === 5);
    expect(answers.map(outcome)).toEqual([
      'broker_away',
      'earlier_refused',
      'earlier_refused',
      'stream_ended',
      'stream_ended',
    ]);
    await memory.close();
  });

  test('a message that was sent twice before it was refused does not make way for what was sent behind both', async () => {
    const memory = createMemoryBroker();
    let calls = 0;
    const { pipeline, answers } = open(flaky(memory, () => (calls++ === 0 ? 'fails' : 'works')));
    const push = (...sequences: number[]) => {
      for (const sequence of sequences) pipeline.push(head(0, sequence), new Uint8Array([sequence]));
      pipeline.flush();
    };
    push(0, 1, 2);
    push(0, 0, 3, 4);
    await until('they are answered', () => answers.length === 7);
    expect(answers.slice(3).map(outcome)).toEqual(['stored', 'duplicate', 'earlier_refused', 'earlier_refused']);
    push(0, 1, 2, 3, 4, 5);
    await until('they are answered', () => answers.length === 13);
    const { entries } = await memory.read(channelOf(head(0, 0)), BEFORE_ALL, 100);
    expect(entries.map(({ data }) => data[0])).toEqual([0, 1, 2, 3, 4, 5]);
    await memory.close();
  });

  test('a publisher that always has something new between what it sends again goes on for ever', async () => {
    const memory = createMemoryBroker();
    let calls = 0;
    // Where room is made for the first time, what goes to the broker is over the rate, and waits.
    const isRoomMade = () => calls > MAX_HELD_MESSAGES - 200 && calls < MAX_HELD_MESSAGES + 500;
    const next = () => (calls++ === 0 ? 'fails' : isRoomMade() && calls % 2 === 0 ? 'half' : 'works');
    const { pipeline, answers, failures } = open(flaky(memory, next));
    let sent = 0;
    const push = async (...sequences: number[]) => {
      for (const sequence of sequences) pipeline.push(head(0, sequence), Uint8Array.of(sequence >> 8, sequence));
      pipeline.flush();
      sent += sequences.length;
      while (answers.length < sent) await new Promise((resolve) => setImmediate(resolve));
    };
    const count = MAX_HELD_MESSAGES + 500;
    await push(0);
    // What is new is refused, and comes again behind what is new then; now and then once too often.
    for (let n = 1; n < count; n += 1) await (n % 7 === 0 ? push(n, n - 1, n - 1) : push(n, n - 1));
    await push(count - 1);
    expect(failures).toEqual([]);
    const { entries } = await memory.read(channelOf(head(0, 0)), BEFORE_ALL, 2 * count);
    expect(entries.map(({ data }) => data[0]! * 256 + data[1]!)).toEqual(Array.from({ length: count }, (_, n) => n));
    await memory.close();
  });

  test('a call that leaves too many behind is ended', async () => {
    const { pipeline, failures } = open(flaky(createMemoryBroker(), () => 'fails'));
    const push = (n: number) => pipeline.push({ ...head(0, n), orgId: BigInt((n % 9) + 1) }, new Uint8Array(1));
    for (let n = 0; n <= MAX_HELD_MESSAGES; n += 1) push(n);
    pipeline.flush();
    await until('it fails', () => failures.length > 0);
    expect(failures[0]).toMatchObject({ reason: 'rate_limited' });
  });
});

test('says when it has enough, in messages and in bytes, until they are answered', async () => {
  const { pipeline, answers } = open(createMemoryBroker());
  for (let n = 0; n < MAX_WAITING_MESSAGES; n += 1) {
    expect(pipeline.isFull).toBe(false);
    pipeline.push(head(0, n), new Uint8Array(1));
  }
  expect(pipeline.isFull).toBe(true);
  pipeline.flush();
  await until('all is answered', () => answers.length === MAX_WAITING_MESSAGES);
  expect(pipeline.isFull).toBe(false);
  for (let n = 0; n < MAX_WAITING_BYTES / 16_384; n += 1) pipeline.push(head(1, n), new Uint8Array(16_384));
  expect(pipeline.isFull).toBe(true);
});

test('stopped, it answers what is at the broker, and refuses what is not; also what waits for the rate', async () => {
  const { pipeline, answers } = open(createMemoryBroker(), { ...RATE, perSec: 3 });
  for (let n = 0; n < 5; n += 1) pipeline.push(head(0, n), new Uint8Array(1));
  pipeline.flush();
  await until('the rate is reached', () => answers.length === 3);
  pipeline.stop();
  pipeline.push(head(0, 5), new Uint8Array(1));
  pipeline.flush();
  expect(answers.map(outcome)).toEqual(['stored', 'stored', 'stored', 'draining', 'draining', 'draining']);
  expect(pipeline.isEmpty).toBe(true);
});

test('however many channels it has had: what was refused on one of them still has to come again', async () => {
  const memory = createMemoryBroker();
  let isAway = true;
  const broker = flaky(memory, () => (isAway ? 'fails' : 'works'));
  const { pipeline, answers } = open(broker);
  const send = async (channel: number, sequence: number) => {
    const before = answers.length;
    pipeline.push(head(channel, sequence), new Uint8Array(1));
    pipeline.flush();
    await until('it is answered', () => answers.length > before);
    return outcome(answers.at(-1));
  };
  expect(await send(0, 1)).toBe('broker_away');
  isAway = false;
  for (let from = 1; from <= 2 * MAX_IDLE_LINES + 2; from += MAX_WAITING_MESSAGES) {
    const to = from + MAX_WAITING_MESSAGES;
    for (let channel = from; channel < to; channel++) pipeline.push(head(channel, channel), new Uint8Array(1));
    pipeline.flush();
    await until('they are answered', () => answers.length === to);
  }
  expect(answers.slice(1).every((answer) => outcome(answer) === 'stored')).toBe(true);
  expect(await send(0, 2)).toBe('earlier_refused');
  expect(await send(0, 1)).toBe('stored');
  expect(await send(0, 2)).toBe('stored');
  await memory.close();
});
