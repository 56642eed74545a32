import { describe, expect, test } from 'vitest';
import { LogFullError, LogUnavailableError } from '#lib/log/log.ts';
import { until } from '../../test/support/until.ts';
import type { Accepted } from './intake.ts';
import { enabled, item, KEY, OTHER_KEY, oneOfMany, openPipeline, received } from './pipeline-testing.ts';

function settled(accepted: Accepted): Promise<boolean> {
  if (accepted.kind !== 'queued') throw new Error(`it was ${accepted.kind}`);
  return accepted.settled;
}

describe('the log', () => {
  test.for([new LogUnavailableError('away'), new LogFullError('full')])('%s: nothing is lost', async (problem) => {
    const under = openPipeline();
    under.log.failWith = problem;
    const accepted = Array.from({ length: 100 }, () => under.pipeline.accept(received([item('event')])));
    await until('it was tried', () => under.processor.batches.length === 2);
    expect(under.pipeline.counters.queuedEnvelopes).toBe(100);
    under.log.failWith = undefined;
    expect(await Promise.all(accepted.map(settled))).toEqual(new Array(100).fill(true));
    expect(under.log.messages()).toHaveLength(100);
  });

  test('slow: what waits is bounded, and what does not fit is to be sent again', async () => {
    const under = openPipeline({ maxQueueBytes: 100_000 });
    const { promise: held, resolve } = Promise.withResolvers<void>();
    under.log.held = held;
    const accepted = Array.from({ length: 200 }, (_, n) =>
      under.pipeline.accept(received([item('event')], oneOfMany(under, n))),
    );
    const queued = accepted.filter(({ kind }) => kind === 'queued');
    expect(queued.length).toBeGreaterThan(40);
    expect(accepted.length - queued.length).toBe(under.pipeline.counters.overloadedEnvelopes);
    expect(under.pipeline.counters.queuedBytes).toBeLessThanOrEqual(100_000);
    expect(under.pipeline.ready()).toBe(false);
    resolve();
    await Promise.all(queued.map(settled));
    expect(under.pipeline.ready()).toBe(true);
    expect(under.pipeline.accept(received([item('event')])).kind).toBe('queued');
  });

  test('while projects are not to be had, keys that nobody knows leave half of the place to the others', async () => {
    const under = openPipeline({ maxQueueBytes: 100_000, projectTimeoutMs: 50 });
    const invented = (n: number) =>
      under.pipeline.accept(received([item('event')], { publicKey: n.toString(16).padStart(32, '0') }));
    const accepted = Array.from({ length: 200 }, (_, n) => invented(n));
    const queued = accepted.filter(({ kind }) => kind === 'queued');
    expect(queued.length).toBeGreaterThan(20);
    expect(under.pipeline.counters.queuedBytes).toBeLessThanOrEqual(50_000);
    expect(under.pipeline.ready()).toBe(true);
    expect(await settled(under.pipeline.accept(received([item('event')])))).toBe(true);
    await Promise.all(queued.map(settled));
    expect(invented(1).kind).toBe('queued');
  });

  test('slow: a project that sends without end leaves place to the others, and so do keys of nobody', async () => {
    const under = openPipeline({ maxQueueBytes: 300_000, projectTimeoutMs: 50 });
    const { promise: held, resolve } = Promise.withResolvers<void>();
    under.log.held = held;
    const send = (publicKey: string) =>
      Array.from({ length: 300 }, () => under.pipeline.accept(received([item('event')], { publicKey })));
    const invent = (from: number) =>
      Array.from({ length: 300 }, (_, n) => {
        const publicKey = (from + n).toString(16).padStart(32, '0');
        const accepted = under.pipeline.accept(received([item('event')], { publicKey }));
        under.projects.set(publicKey, { kind: 'disabled' });
        return accepted;
      });
    const busy = send(KEY);
    const { queuedBytes } = under.pipeline.counters;
    expect(queuedBytes).toBeGreaterThan(145_000);
    expect(queuedBytes).toBeLessThan(155_000);
    expect(under.pipeline.ready()).toBe(true);

    const invented = invent(1);
    // They are known to be nobody’s, and still wait for the log.
    await new Promise((done) => setTimeout(done, 20));
    invented.push(...invent(1_000));
    expect(under.pipeline.counters.queuedBytes).toBeLessThan(230_000);

    const others = send(OTHER_KEY);
    under.projects.set(OTHER_KEY, enabled({ projectId: 77n }));
    const other = received([item('event')], { publicKey: OTHER_KEY, projectId: 77n });
    await until('it has a share of its own', () => {
      others.push(under.pipeline.accept(other));
      return others.at(-1)?.kind === 'queued';
    });
    resolve();
    const queued = [...busy, ...invented, ...others].filter(({ kind }) => kind === 'queued');
    expect(new Set(await Promise.all(queued.map(settled)))).toEqual(new Set([true]));
    expect(under.pipeline.counters).toMatchObject({ queuedBytes: 0, queuedEnvelopes: 0 });
    expect(send(KEY).filter(({ kind }) => kind === 'queued').length).toBeGreaterThan(60);
  });

  test('an envelope larger than the queue needs half of it', async () => {
    const under = openPipeline({ maxQueueBytes: 100_000 });
    const large = () => received([item('attachment', Buffer.alloc(300_000))]);
    const first = under.pipeline.accept(large());
    expect(first.kind).toBe('queued');
    expect(under.pipeline.accept(large()).kind).toBe('overloaded');
    expect(await settled(first)).toBe(true);
    expect(under.pipeline.accept(large()).kind).toBe('queued');
  });

  test('more is refused than it takes: counts stay exact, without the event ids', async () => {
    const under = openPipeline();
    under.projects.set(KEY, { kind: 'disabled' });
    const { promise: held, resolve } = Promise.withResolvers<void>();
    under.log.held = held;
    for (let n = 0; n < 25_000; n += 1) under.pipeline.accept(received([item('event')]));
    under.log.held = undefined;
    resolve();
    expect(await under.pipeline.drain(10_000)).toBe(true);
    const outcomes = under.log.outcomes();
    expect(outcomes.length).toBeLessThan(12_000);
    expect(outcomes.reduce((sum, { quantity }) => sum + quantity, 0)).toBe(25_000);
    expect(outcomes.filter(({ eventId }) => eventId === undefined).length).toBeLessThanOrEqual(2);
  });
});

describe('what the log can never take', () => {
  test('is an outcome, where its size says so', async () => {
    const under = openPipeline();
    const bad = received([item('event', Buffer.alloc(2.5 * 1024 * 1024)), item('attachment', 'abc')]);
    const accepted = [received([item('event')]), bad, received([item('event')])];
    expect(await Promise.all(accepted.map((each) => settled(under.pipeline.accept(each))))).toEqual([true, true, true]);
    expect(under.log.messages()).toHaveLength(2);
    const invalid = { outcome: 'invalid', reason: 'too_large:event', eventId: bad.eventId };
    expect(under.log.outcomes()).toMatchObject([
      { ...invalid, category: 'error', quantity: 1 },
      { ...invalid, category: 'attachment', quantity: 3 },
      { ...invalid, category: 'attachment_item', quantity: 1 },
    ]);
  });

  test('takes no other with it, where nothing said so before', async () => {
    const under = openPipeline();
    const append = under.log.append.bind(under.log);
    under.log.append = async (records) => {
      if (records.some(({ value }) => Buffer.from(value).includes('poison'))) throw new RangeError('no');
      await append(records);
    };
    const accepted = ['{}', 'poison', '{}'].map((text) => under.pipeline.accept(received([item('event', text)])));
    expect(await Promise.all(accepted.map(settled))).toEqual([true, true, true]);
    expect(under.log.messages()).toHaveLength(2);
    expect(under.log.outcomes()).toMatchObject([{ outcome: 'invalid', reason: 'internal', category: 'error' }]);
    expect(under.pipeline.counters).toMatchObject({ lostEnvelopes: 0, loggedEvents: 2, queuedBytes: 0 });
    expect(under.pipeline.ready()).toBe(true);
  });

  test('what it took beside that counts once', async () => {
    const under = openPipeline();
    const { log } = under;
    const append = log.append.bind(log);
    // As Kafka does it, each of whose partitions answers for itself.
    log.append = async (records) => {
      const taken = records.filter(({ value }) => !Buffer.from(value).includes('poison'));
      await append(taken);
      if (taken.length < records.length) throw new RangeError('no');
    };
    const refused = item('refused', '{"outcome":"filtered","reason":"localhost","category":"session","quantity":7}');
    const accepted = ['{}', 'poison', '{}'].map((text) =>
      under.pipeline.accept(received([item('event', text), refused])),
    );
    expect(await Promise.all(accepted.map(settled))).toEqual([true, true, true]);
    const stamps = new Map(log.outcomes().map((outcome) => [JSON.stringify(outcome.stamp), outcome]));
    const counted = [...stamps.values()].map(({ outcome, category, quantity }) => [outcome, category, quantity]);
    expect(counted.sort()).toEqual([...Array(3).fill(['filtered', 'session', 7]), ['invalid', 'error', 1]]);
    expect(under.pipeline.counters.outcomes).toMatchObject({ filtered: 3, invalid: 1 });
  });

  test('many small attachments go in pieces where together they are too much for a record', async () => {
    const under = openPipeline();
    const small = Array.from({ length: 30 }, () => item('attachment', Buffer.alloc(16 * 1024)));
    expect(await settled(under.pipeline.accept(received([item('event'), ...small])))).toBe(true);
    const types = under.log.messages().map(({ type }) => type);
    expect(types).toEqual([...new Array(14).fill('attachment_chunk'), 'event']);
  });
});

test('a project cache that answers at once that it does not know is not asked without end', async () => {
  const under = openPipeline({ projectTimeoutMs: 100 });
  let asked = 0;
  under.projects.get = async () => {
    asked += 1;
    return { kind: 'pending' };
  };
  expect(await settled(under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY })))).toBe(true);
  expect(under.log.outcomes()).toMatchObject([{ outcome: 'invalid', reason: 'project_unavailable' }]);
  expect(asked).toBeLessThan(10);
});

describe('processing', () => {
  test('an envelope that a thread dies of takes no other with it', async () => {
    const under = openPipeline();
    const bad = received([item('event', 'die')]);
    const all = [received([item('event')]), bad, received([item('event')])];
    expect(await Promise.all(all.map((each) => settled(under.pipeline.accept(each))))).toEqual([true, true, true]);
    expect(under.log.messages()).toHaveLength(2);
    expect(under.log.outcomes()).toMatchObject([{ outcome: 'invalid', reason: 'internal', eventId: bad.eventId }]);
    expect(under.errors.length).toBeGreaterThan(0);
  });

  test('a result that makes no sense is an outcome of the one alone', async () => {
    const under = openPipeline();
    const bad = received([item('event')]);
    const broken = { ...bad, envelope: { ...bad.envelope, eventId: 'no event id' } };
    const all = [received([item('event')]), broken];
    expect(await Promise.all(all.map((each) => settled(under.pipeline.accept(each))))).toEqual([true, true]);
    expect(under.log.messages()).toHaveLength(1);
    expect(under.log.outcomes()).toMatchObject([{ outcome: 'invalid', reason: 'internal' }]);
  });

  test('few batches are at work at once, and those that wait fill up', async () => {
    const under = openPipeline({ maxBatches: 2 });
    const { promise: held, resolve } = Promise.withResolvers<void>();
    let atOnce = 0;
    let most = 0;
    const process = under.processor.process.bind(under.processor);
    under.processor.process = async (batch) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await held;
      atOnce -= 1;
      return process(batch);
    };
    const accepted: Accepted[] = [];
    for (let n = 0; n < 20; n += 1) {
      accepted.push(under.pipeline.accept(received([item('event')])));
      await new Promise((done) => setTimeout(done, 3));
    }
    resolve();
    await Promise.all(accepted.map(settled));
    expect(most).toBe(2);
    expect(under.processor.batches.length).toBeLessThan(6);
  });
});

describe('the end', () => {
  test('what was taken is finished, and nothing more is taken', async () => {
    const under = openPipeline();
    const accepted = under.pipeline.accept(received([item('event')]));
    under.projects.set(OTHER_KEY, { kind: 'disabled' });
    under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY }));
    const drained = under.pipeline.drain(5_000);
    expect(under.pipeline.accept(received([item('event')])).kind).toBe('overloaded');
    expect(under.pipeline.ready()).toBe(false);
    expect(await drained).toBe(true);
    expect(await settled(accepted)).toBe(true);
    expect([under.log.messages().length, under.log.outcomes().length]).toEqual([1, 1]);
  });

  test('what can be finished by nobody is lost, and said to be', async () => {
    const under = openPipeline({ maxBatches: 1 });
    under.log.failWith = new LogUnavailableError('away');
    const accepted = [
      under.pipeline.accept(received([item('event')])),
      under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY })),
    ];
    await until('it was tried', () => under.processor.batches.length === 1);
    accepted.push(under.pipeline.accept(received([item('event')])));
    expect(await under.pipeline.drain(50)).toBe(false);
    under.pipeline.close();
    under.pipeline.close();
    expect(await Promise.all(accepted.map(settled))).toEqual([false, false, false]);
    expect(under.pipeline.counters).toMatchObject({ lostEnvelopes: 3, queuedEnvelopes: 0, queuedBytes: 0 });
  });
});

test('whatever comes: each event is logged or has an outcome', async () => {
  const under = openPipeline({ projectTimeoutMs: 50 });
  const state = enabled({ allowedDomains: ['good.example'] });
  under.projects.set(KEY, state);
  const keys = [KEY, KEY, KEY, OTHER_KEY, 'c'.repeat(32)];
  const origins = [undefined, 'https://good.example', 'https://evil.example'];
  const payloads = ['{}', '{}', '{}', 'die'];
  const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)] as T;
  const all: Promise<boolean>[] = [];
  for (let n = 0; n < 500; n += 1) {
    if (n === 250) under.projects.set(OTHER_KEY, { kind: 'disabled' });
    const accepted = under.pipeline.accept(
      received([item('event', pick(payloads))], { publicKey: pick(keys), origin: pick(origins) }),
    );
    if (accepted.kind === 'queued') all.push(accepted.settled);
  }
  await Promise.all(all);
  expect(await under.pipeline.drain(5_000)).toBe(true);
  const { counters } = under.pipeline;
  expect(counters.receivedEvents).toBe(500);
  expect(under.log.messages().length + under.log.outcomes().length).toBe(500);
  expect(counters.loggedEvents + counters.outcomes.invalid).toBe(500);
});
