import * as fc from 'fast-check';
import { expect } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import type { ChannelKey, Entry, NewMessage, PublishRate, PublishResult } from './broker.ts';
import type { BrokerHarness } from './broker-harness.ts';
import { type ChannelModel, type Moment, plain } from './broker-model.ts';
import { encodeMessage, textDeltaOf } from './coalescing-model.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId, entryIdMs } from './entry-id.ts';

/** The model that the commands run against. */
export interface Model {
  readonly channels: readonly ChannelModel[];
  saved: (() => void)[] | undefined;
}

/** The real thing. */
export interface Real {
  readonly harness: BrokerHarness;
  readonly channels: readonly ChannelKey[];
  readonly messageIds: readonly string[];
  /** What each channel's listener received. */
  readonly received: readonly Entry[][];
  /** Whether live delivery was cut, so that it may have lost something. */
  cut: boolean;
  rollBack: (() => Promise<void>) | undefined;
}

type BrokerCommand = fc.AsyncCommand<Model, Real>;

// Two clocks on one machine, one of them read in a server: as close as that.
const CLOCK_SLACK_MS = 2;
const HUGE_ID = '18446744073709551615-18446744073709551615' as EntryId;

function command(
  name: string,
  run: (model: Model, real: Real) => Promise<void>,
  check = (_: Model) => true,
): BrokerCommand {
  return { toString: () => name, check, run };
}

async function during<T>(harness: BrokerHarness, action: () => Promise<T>): Promise<[T, Moment]> {
  const fromMs = harness.nowMs();
  const result = await action();
  return [
    result,
    { fromMs: fromMs - CLOCK_SLACK_MS, toMs: harness.nowMs() + CLOCK_SLACK_MS, ttlMs: harness.ttlNowMs() },
  ];
}

/** Every channel, read whole, is what the model has; and each entry names the one before it. */
async function compareAll(model: Model, real: Real): Promise<void> {
  for (const [n, channel] of model.channels.entries()) {
    channel.expire(real.harness.ttlNowMs());
    const { entries, tail } = await real.harness.broker.read(real.channels[n]!, BEFORE_ALL, 1000);
    expect(entries.map(plain)).toEqual(channel.read(BEFORE_ALL, 1000).map(plain));
    expect(tail).toEqual(channel.tail);
    for (const [at, entry] of entries.entries()) if (at > 0) expect(entry.prev).toBe(entries[at - 1]?.id);
    checkCovers(channel, BEFORE_ALL, entries);
  }
}

/** Entries and pieces stand for what was published, each once; only what is retained no more is left out. */
function checkCovers(channel: ChannelModel, after: EntryId, entries: readonly Entry[]): void {
  const retained = new Set(channel.entries.map(({ id }) => id));
  const published = (from: EntryId, to: EntryId) =>
    channel.published.filter(({ id }) => compareEntryIds(id, from) > 0 && compareEntryIds(id, to) <= 0);
  let at = after;
  for (const entry of entries) {
    if (entry.prev !== at) expect(published(at, entry.prev).filter(({ id }) => retained.has(id))).toEqual([]);
    const joined = published(entry.prev, entry.id);
    if (entry.coalesceMs === undefined) {
      expect(joined.map(({ id }) => id)).toEqual([entry.id]);
      expect(Buffer.compare(joined[0]!.data, entry.data)).toBe(0);
    } else {
      const texts = joined.map(({ data }) => textDeltaOf(data)!);
      const names = new Set(texts.map(({ name }) => name));
      expect(names.size).toBe(1);
      const [name] = names;
      expect(textDeltaOf(entry.data)).toEqual({ name, text: texts.map(({ text }) => text).join('') });
    }
    at = entry.id;
  }
}

async function publish(model: Model, real: Real, n: number, message: NewMessage, rate: PublishRate): Promise<void> {
  const channel = model.channels[n]!;
  channel.expire(real.harness.ttlNowMs());
  const [result, at] = await during(real.harness, () => real.harness.broker.publish(real.channels[n]!, message, rate));
  checkPublished(channel, message, rate, at, result);
  channel.trim();
  await compareAll(model, real);
}

async function publishMany(
  model: Model,
  real: Real,
  n: number,
  messages: readonly NewMessage[],
  rate: PublishRate,
): Promise<void> {
  const channel = model.channels[n]!;
  channel.expire(real.harness.ttlNowMs());
  const [results, at] = await during(real.harness, () =>
    real.harness.broker.publishMany(real.channels[n]!, messages, rate),
  );
  checkPublishedMany(channel, messages, rate, at, results);
  channel.trim();
  await compareAll(model, real);
}

/** What a publishMany answers. {@link ChannelModel.trim} follows at the end of the step. */
export function checkPublishedMany(
  channel: ChannelModel,
  messages: readonly NewMessage[],
  rate: PublishRate,
  at: Moment,
  results: readonly PublishResult[],
): void {
  expect(results).toHaveLength(messages.length);
  let rateLeft = rate;
  for (const [index, message] of messages.entries()) {
    const result = results[index]!;
    if (results[index - 1]?.kind === 'rate_limited') {
      expect(result).toEqual(results[index - 1]);
      continue;
    }
    checkPublished(channel, message, rateLeft, at, result);
    if (result.kind === 'stored' && rate.counts !== 'messages') rateLeft = { ...rate, perSec: 0 };
  }
}

function checkPublished(
  channel: ChannelModel,
  message: NewMessage,
  rate: PublishRate,
  at: Moment,
  result: PublishResult,
): void {
  expect(channel.expected(message, rate, at).split(' or ')).toContain(result.kind);
  switch (result.kind) {
    case 'duplicate':
      expect(result.id).toBe(channel.duplicateOf(message));
      break;
    case 'sealed':
      expect(result.by).toBe(channel.sealedBy);
      break;
    case 'rate_limited':
      expect(result.retryAfterMs).toBeGreaterThan(0);
      expect(result.retryAfterMs).toBeLessThanOrEqual(1000);
      break;
    default:
      expect(compareEntryIds(result.id, channel.last)).toBeGreaterThan(0);
      expect(entryIdMs(result.id)).toBeGreaterThanOrEqual(at.fromMs);
      expect(entryIdMs(result.id)).toBeLessThanOrEqual(at.toMs);
      channel.store(result.id, message, rate, at);
  }
}

const CHANNELS = 2;
export const MESSAGE_IDS = 4;

const texts = fc
  .tuple(
    fc.constantFrom('text', 'text', 'text', 'reason'),
    fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 8 }),
      fc.string({ unit: 'grapheme', minLength: 200, maxLength: 500 }),
      fc.constantFrom('', '👩‍👩‍👧', 'é', '波'),
    ),
  )
  .map(([name, text]) => ({ payload: { [name]: text } }));
const content = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.uint8Array({ minLength: 400, maxLength: 1200 }),
  { weight: 4, arbitrary: texts },
  { weight: 2, arbitrary: fc.record({ coalesceWindowMs: fc.constantFrom(1, 40, 10_000) }) },
  fc.constant({ payload: { text: 'a', more: 1 } }),
);
const newMessages = fc.record({
  id: fc.nat(MESSAGE_IDS - 1),
  phase: fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(Phase.START, Phase.DELTA, Phase.ERROR) },
    { weight: 1, arbitrary: fc.constant(Phase.END) },
  ),
  sequence: fc.oneof(fc.bigInt(0n, 3n), fc.constant(2n ** 64n - 1n)),
  content,
});
type GeneratedMessage = typeof newMessages extends fc.Arbitrary<infer T> ? T : never;

/** Several messages that follow each other by themselves, as tokens do. */
const tokens = fc
  .tuple(fc.array(texts, { minLength: 1, maxLength: 8 }), fc.nat(MESSAGE_IDS - 1))
  .chain(([said, id]) =>
    fc
      .uniqueArray(fc.bigInt(0n, 999n), { minLength: said.length, maxLength: said.length })
      .map((sequences) =>
        said.map((content, n): GeneratedMessage => ({ id, phase: Phase.DELTA, sequence: sequences[n]!, content })),
      ),
  );

function toSend({ id, phase, sequence, content }: GeneratedMessage, channel: ChannelKey, real: Real): NewMessage {
  const messageId = real.messageIds[id]!;
  if (content instanceof Uint8Array) return { messageId, phase, sequence, data: content };
  const data = encodeMessage(channel, { messageId, phase, sequence, ...content });
  return { messageId, phase, sequence, data };
}

function said({ id, phase, sequence, content }: GeneratedMessage): string {
  const what = content instanceof Uint8Array ? `${content.length} bytes` : JSON.stringify(content);
  return `${id}/${phase}/${sequence} ${what}`;
}
const names = fc.constantFrom<PublishRate['name'][]>('unary', 'stream');
const ratesPerSec = fc.constantFrom(0, 0, 1, 2, 3);

const publishes = fc
  .record({ n: fc.nat(CHANNELS - 1), message: newMessages, name: names, perSec: ratesPerSec })
  .map(({ n, message, name, perSec }) =>
    command(`publish(${n}, ${said(message)}, ${name} ${perSec}/s)`, (model, real) =>
      publish(model, real, n, toSend(message, real.channels[n]!, real), { name, perSec }),
    ),
  );

const publishManys = fc
  .record({
    n: fc.nat(CHANNELS - 1),
    messages: fc.oneof(fc.array(newMessages, { maxLength: 8 }), tokens),
    rate: fc.record({
      name: names,
      perSec: ratesPerSec,
      counts: fc.constantFrom<NonNullable<PublishRate['counts']>[]>('calls', 'messages'),
    }),
  })
  .map(({ n, messages, rate }) => {
    const limit = `${rate.name} ${rate.perSec} ${rate.counts}/s`;
    return command(`publishMany(${n}, [${messages.map(said).join(', ')}], ${limit})`, (model, real) => {
      const sent = messages.map((message) => toSend(message, real.channels[n]!, real));
      return publishMany(model, real, n, sent, rate);
    });
  });

const repeats = fc.tuple(fc.nat(CHANNELS - 1), fc.nat(200)).map(([n, pick]) =>
  command(
    `repeat(${n}, ${pick})`,
    async (model, real) => {
      const { history } = model.channels[n]!;
      const message = history[history.length - 1 - (pick % history.length)]!;
      // A retry may carry other bytes, a new timestamp for example: the first stay.
      await publish(model, real, n, { ...message, data: new Uint8Array([1]) }, { name: 'unary', perSec: 0 });
    },
    (model) => model.channels[n]!.history.length > 0,
  ),
);

const reads = fc
  .record({ n: fc.nat(CHANNELS - 1), cursor: fc.nat(200), limit: fc.integer({ min: 1, max: 8 }) })
  .map(({ n, cursor, limit }) =>
    command(`read(${n}, ${cursor}, ${limit})`, async (model, real) => {
      const channel = model.channels[n]!;
      channel.expire(real.harness.ttlNowMs());
      const { ms = 0 } = { ms: entryIdMs(channel.last) };
      const cursors = [BEFORE_ALL, HUGE_ID, `${ms}-999` as EntryId, ...channel.stored.keys()];
      const after = cursors[cursor % cursors.length]!;
      const { entries, tail } = await real.harness.broker.read(real.channels[n]!, after, limit);
      expect(entries.map(plain)).toEqual(channel.read(after, limit).map(plain));
      expect(tail).toEqual(channel.tail);
    }),
  );

/** Reads on and on, as readers do, from anywhere: parts that begin with entries go on with pieces. */
const readThroughs = fc
  .record({
    n: fc.nat(CHANNELS - 1),
    cursor: fc.nat(200),
    limits: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
  })
  .map(({ n, cursor, limits }) =>
    command(`readThrough(${n}, ${cursor}, ${limits})`, async (model, real) => {
      const channel = model.channels[n]!;
      channel.expire(real.harness.ttlNowMs());
      const cursors = [BEFORE_ALL, ...channel.published.map(({ id }) => id)];
      const after = cursors[cursor % cursors.length]!;
      const all: Entry[] = [];
      for (let turn = 0; ; turn += 1) {
        const limit = limits[turn % limits.length]!;
        const { entries } = await real.harness.broker.read(real.channels[n]!, all.at(-1)?.id ?? after, limit);
        all.push(...entries);
        if (entries.length < limit) break;
      }
      if (all.length > 0) expect(all.at(-1)?.id).toBe(channel.last);
      checkCovers(channel, after, all);
    }),
  );

const tails = fc.constant(
  command('tails', async (model, real) => {
    for (const channel of model.channels) channel.expire(real.harness.ttlNowMs());
    const asked = [...real.channels, real.channels[0]!];
    const expected = model.channels.map(({ tail }) => tail);
    expect(await real.harness.broker.tails(asked)).toEqual([...expected, expected[0]]);
  }),
);

// None of their sums comes close to an expiry (broker-contract.ts has the TTLs).
const elapses = fc.constantFrom(100_000, 100_000, 200_000, 86_400_000).map((ms) =>
  command(`elapse(${ms})`, async (model, real) => {
    await real.harness.elapse(ms, real.channels);
    await compareAll(model, real);
  }),
);

const waits = fc.integer({ min: 1, max: 12 }).map((ms) => command(`wait(${ms})`, (_, real) => real.harness.wait(ms)));

const endIdles = fc.constantFrom(0, 1_000_000_000_000).map((idleMs) =>
  command(`endIdle(${idleMs})`, async (model, real) => {
    const { harness, channels } = real;
    for (const channel of model.channels) channel.expire(harness.ttlNowMs());
    const [{ examined, ended }, at] = await during(harness, () => harness.broker.endIdle(idleMs, 10_000));
    expect(ended.length).toBeLessThanOrEqual(examined);
    for (const [n, channel] of model.channels.entries()) {
      const did = ended.filter((key) => key === channels[n]).length;
      if (idleMs > 0 || !channel.open) expect(did).toBe(0);
      else if (channel.indexed) expect(did).toBe(1);
      if (did === 0) continue;
      const [tail] = await harness.broker.tails([channels[n]!]);
      expect(compareEntryIds(tail!.last, channel.last)).toBeGreaterThan(0);
      channel.endIdle(tail!.last, at);
    }
    await compareAll(model, real);
  }),
);

const cuts = fc.constant(
  command('cut live delivery', async (_, real) => {
    real.cut = true;
    await real.harness.cutLive?.();
  }),
);

const saves = fc.constant(
  command('save', async (model, real) => {
    model.saved = model.channels.map((channel) => channel.snapshot());
    real.rollBack = await real.harness.save?.(real.channels);
  }),
);

const rollBacks = fc.constant(
  command(
    'roll back',
    async (model, real) => {
      if (!real.rollBack) return;
      await real.rollBack();
      for (const restore of model.saved ?? []) restore();
      model.saved = undefined;
      real.rollBack = undefined;
      await compareAll(model, real);
    },
    (model) => model.saved !== undefined,
  ),
);

/** What the harness can't do (cut, roll back) is left out. */
export function brokerCommands(harness: BrokerHarness): fc.Arbitrary<Iterable<BrokerCommand>> {
  // Most commands are publishes: a log has to become long enough to be trimmed.
  const published = [publishes, publishes, publishes, publishManys, publishManys, repeats, repeats];
  const common = [...published, reads, readThroughs, tails, elapses, waits, endIdles];
  const cut = harness.cutLive ? [cuts] : [];
  const rolled = harness.save ? [saves, rollBacks] : [];
  return fc.commands([...common, ...cut, ...rolled], { maxCommands: 60, size: '+1' });
}

/** Live delivery repeated nothing, invented nothing and kept the order; and lost nothing unless it was cut. */
export async function checkReceived(model: Model, real: Real): Promise<void> {
  for (const [n, { stored }] of model.channels.entries()) {
    const received = real.received[n]!;
    if (!real.cut) await until('all is delivered', () => received.length >= stored.size);
    const delivered = new Set(received.map(({ id }) => id));
    expect(delivered.size).toBe(received.length);
    const expected = [...stored.values()].filter(({ id }) => !real.cut || delivered.has(id));
    expect(received.map(plain)).toEqual(expected);
  }
}
