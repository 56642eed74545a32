import { setTimeout as delay, setImmediate as endOfTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import {
  type Broker,
  BrokerUnavailableError,
  type ChannelKey,
  DEFAULT_RETENTION,
  type NewMessage,
  type PublishRate,
  type PublishResult,
  type Retention,
} from './broker.ts';
import { checkPublishedMany } from './broker-commands.ts';
import { newChannel } from './broker-harness.ts';
import { ChannelModel, type Moment, plain } from './broker-model.ts';
import { encodeMessage } from './coalescing-model.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import { messageKey } from './message-key.ts';
import { publishes, redisForEachTest } from './redis-fixture.ts';
import { channelKeys } from './redis-keys.ts';

// Publishes that are on their way together, in one call of the script or in several, held against a model of each channel to
// which they come one after the other.

const redis = redisForEachTest();

const CHANNELS = 4;
const IDLE_TTL_MS = 360_000;
/** Reached by a few publishes. */
const SMALL: Retention = { maxEntries: 6, minAgeMs: 5, maxBytes: 60_000, sealedTtlMs: 120_000 };
const CLOCK_SLACK_MS = 2;
const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };
const RATES: readonly PublishRate[] = [
  UNLIMITED,
  { name: 'stream', perSec: 0 },
  { name: 'unary', perSec: 3 },
  { name: 'stream', perSec: 2, counts: 'messages' },
];

const message = fc.record({
  id: fc.nat(3),
  phase: fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom(Phase.DELTA, Phase.DELTA, Phase.DELTA, Phase.START, Phase.ERROR) },
    { weight: 1, arbitrary: fc.constant(Phase.END) },
  ),
  sequence: fc.bigInt(0n, 20n),
  bytes: fc.oneof({ weight: 9, arbitrary: fc.nat(30) }, fc.nat(40_000)),
  name: fc.constantFrom('text', 'text', 'other'),
  windowMs: fc.constantFrom(undefined, 40),
});
type MadeMessage = typeof message extends fc.Arbitrary<infer T> ? T : never;

const publish = fc.record({
  broker: fc.nat(1),
  n: fc.nat(CHANNELS - 1),
  messages: fc.oneof(
    { weight: 3, arbitrary: fc.array(message, { minLength: 1, maxLength: 1 }) },
    fc.array(message, { minLength: 2, maxLength: 6 }),
  ),
  rate: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(RATES.length - 1)),
  /** What comes between it and the next. */
  next: fc.oneof({ weight: 12, arbitrary: fc.constant('nothing') }, fc.constantFrom('a turn', 'its answer')),
});
type MadePublish = typeof publish extends fc.Arbitrary<infer T> ? T : never;

interface Sent {
  readonly broker: number;
  readonly n: number;
  readonly messages: readonly NewMessage[];
  readonly rate: PublishRate;
  readonly outcome: Promise<{ at: Moment; results: readonly PublishResult[] } | undefined>;
}

function newMessage({ id, phase, sequence, bytes, name, windowMs }: MadeMessage, channel: ChannelKey): NewMessage {
  const messageId = `00000000-0000-4000-8000-00000000000${id}`;
  const coalesces = phase === Phase.START && windowMs !== undefined ? { coalesceWindowMs: windowMs } : {};
  const payload = { [name]: 'x'.repeat(bytes) };
  const data = encodeMessage(channel, { messageId, phase, sequence, payload, ...coalesces });
  return { messageId, phase, sequence, data };
}

function send(broker: Broker, channel: ChannelKey, { messages: made, rate: pick, ...where }: MadePublish): Sent {
  const messages = made.map((each) => newMessage(each, channel));
  const rate = RATES[pick] ?? UNLIMITED;
  const fromMs = Date.now() - CLOCK_SLACK_MS;
  const [first] = messages as [NewMessage];
  const answered =
    messages.length === 1 ? broker.publish(channel, first, rate) : broker.publishMany(channel, messages, rate);
  const outcome = answered.then(
    (results) => ({ at: { fromMs, toMs: Date.now() + CLOCK_SLACK_MS, ttlMs: fromMs }, results: [results].flat() }),
    (error: unknown) => {
      if (!(error instanceof BrokerUnavailableError)) throw error;
      return undefined;
    },
  );
  return { ...where, messages, rate, outcome };
}

/** Sends what `story` has; what else happens in it is `befall`'s. */
async function tell(
  story: readonly (MadePublish | string)[],
  channels: readonly ChannelKey[],
  brokers: readonly Broker[],
  befall: (what: string) => Promise<void> | void,
): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (const step of story) {
    if (typeof step === 'string') {
      await befall(step);
      continue;
    }
    const made = send(brokers[step.broker % brokers.length]!, channels[step.n]!, step);
    sent.push(made);
    if (step.next === 'a turn') await endOfTurn();
    if (step.next === 'its answer') await made.outcome;
  }
  return sent;
}

test('publishes that are on their way together are answered as if they came one after the other', async () => {
  const broker = redis.open({ retention: SMALL, commandTimeoutMs: 10_000 });
  const flush = fc.constant('scripts are forgotten');
  const steps = fc.array(fc.oneof({ weight: 30, arbitrary: publish }, flush), {
    minLength: 1,
    maxLength: 80,
    size: 'max',
  });
  const property = fc.asyncProperty(steps, async (story) => {
    const channels = Array.from({ length: CHANNELS }, newChannel);
    const flushes: Promise<unknown>[] = [];
    const sent = await tell(story, channels, [broker], () => void flushes.push(redis.server.admin.script('FLUSH')));
    await Promise.all(flushes);
    const models = channels.map(() => new ChannelModel(SMALL, IDLE_TTL_MS));
    for (const { n, messages, rate, outcome } of sent) {
      const answered = await outcome;
      if (answered === undefined) throw new Error('it was not answered');
      checkPublishedMany(models[n]!, messages, rate, answered.at, answered.results);
      models[n]!.trim();
    }
    for (const [n, channel] of channels.entries()) {
      const { entries, tail } = await broker.read(channel, BEFORE_ALL, 1000);
      expect(entries.map(plain)).toEqual(models[n]!.read(BEFORE_ALL, 1000).map(plain));
      expect(tail).toEqual(models[n]!.tail);
    }
  });
  await fc.assert(property, {
    numRuns: 40,
    timeout: 20_000,
    interruptAfterTimeLimit: 40_000,
  });
}, 120_000);

interface LogEntry {
  readonly id: EntryId;
  readonly prev: string;
  readonly key: string;
  readonly data: Buffer;
}

async function logOf(channel: ChannelKey): Promise<LogEntry[]> {
  const found = await redis.server.admin.xrangeBuffer(channelKeys(channel).log, '-', '+');
  return found.map(([id, fields]) => {
    const [, prev, , key, , data] = fields as Buffer[];
    return { id: String(id) as EntryId, prev: String(prev), key: String(key), data: data ?? Buffer.alloc(0) };
  });
}

const FORGOTTEN = 'scripts are forgotten';
const faults: Record<string, () => Promise<unknown>> = {
  [FORGOTTEN]: () => redis.server.admin.script('FLUSH'),
  'connections are cut': () => redis.server.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
  'it has no memory left': async () => {
    await redis.server.admin.config('SET', 'maxmemory', '1');
    await delay(5);
    await redis.server.admin.config('SET', 'maxmemory', '0');
  },
  'it takes no writes': async () => {
    await redis.server.admin.config('SET', 'min-replicas-to-write', '1');
    await delay(5);
    await redis.server.admin.config('SET', 'min-replicas-to-write', '0');
  },
  'it stands still': async () => {
    redis.server.pause();
    await delay(20);
    redis.server.resume();
  },
  'it stands still for longer than deadlines are': async () => {
    redis.server.pause();
    await delay(250);
    redis.server.resume();
  },
};

test('whatever happens to Redis meanwhile: what was answered is in the log as it was answered, each once', async () => {
  const brokers = [1, 2].map(() => redis.open({ commandTimeoutMs: 100 }));
  const fault = fc.constantFrom(...Object.keys(faults));
  const steps = fc.array(fc.oneof({ weight: 12, arbitrary: publish }, fault), {
    minLength: 1,
    maxLength: 80,
    size: 'max',
  });
  const property = fc.asyncProperty(steps, async (story) => {
    const channels = Array.from({ length: CHANNELS }, newChannel);
    let happening: Promise<unknown> = Promise.resolve();
    const sent = await tell(story, channels, brokers, async (what) => {
      await happening;
      happening = faults[what]!();
      await endOfTurn();
    });
    await happening;
    const outcomes = await Promise.all(sent.map(({ outcome }) => outcome));
    // What was not answered is sent again until it is, so that nothing of it is still to come.
    for (const broker of brokers) await until('it heals', () => publishes(broker, newChannel()));
    for (const [at, { n, messages }] of sent.entries()) {
      if (outcomes[at] !== undefined) continue;
      const again = () => brokers[0]!.publishMany(channels[n]!, messages, UNLIMITED);
      await until('it is answered', async () => (await again()).length > 0);
    }
    for (const [n, channel] of channels.entries()) {
      const of = sent.map((each, at) => ({ ...each, results: outcomes[at]?.results })).filter((each) => each.n === n);
      // A call that finds them forgotten is sent again: one behind it is not, if the other broker has sent them meanwhile.
      await check(brokers[0]!, channel, of, !story.includes(FORGOTTEN));
    }
  });
  await fc.assert(property, {
    numRuns: 15,
    timeout: 20_000,
    interruptAfterTimeLimit: 40_000,
  });
}, 120_000);

type Told = Pick<Sent, 'broker' | 'messages'> & { readonly results: readonly PublishResult[] | undefined };

async function check(broker: Broker, channel: ChannelKey, sent: readonly Told[], inOrder: boolean): Promise<void> {
  const log = await logOf(channel);
  const byKey = new Map(log.map((entry) => [entry.key, entry]));
  expect(byKey.size).toBe(log.length);
  expect(log.map(({ prev }) => prev)).toEqual(log.map((_, at) => log[at - 1]?.id ?? '0-0'));
  const ends = log.findIndex(({ key }) => key.includes(`/${Phase.END}/`));
  if (ends >= 0) expect(ends).toBe(log.length - 1);

  const storedAs = new Map<string, NewMessage>();
  const last: EntryId[] = [BEFORE_ALL, BEFORE_ALL];
  for (const { broker: from, messages, results } of sent) {
    for (const [at, result] of (results ?? []).entries()) {
      const one = messages[at]!;
      const entry = byKey.get(messageKey(one));
      if (result.kind === 'sealed') expect(result.by).toBe(log.at(-1)?.id);
      if (result.kind === 'stored' || result.kind === 'duplicate') expect(entry?.id).toBe(result.id);
      if (result.kind !== 'stored') continue;
      expect(storedAs.has(result.id)).toBe(false);
      storedAs.set(result.id, one);
      expect(Buffer.compare(entry!.data, one.data)).toBe(0);
      if (inOrder) expect(compareEntryIds(result.id, last[from]!)).toBeGreaterThan(0);
      last[from] = result.id;
    }
  }

  // The index and the snapshot are what they are by the log.
  const { index } = channelKeys(channel);
  const fields = log.length === 0 ? 0 : log.length + 4 + (ends >= 0 ? 1 : 0);
  expect(await redis.server.admin.hlen(index)).toBe(fields);
  const model = new ChannelModel(DEFAULT_RETENTION, IDLE_TTL_MS);
  const nowMs = Date.now();
  for (const { id, key, data } of log) {
    const [messageId = '', phase, sequence] = key.split('/');
    const stored = { messageId, phase: Number(phase) as Phase, sequence: BigInt(sequence ?? 0), data };
    model.store(id, stored, UNLIMITED, { fromMs: nowMs, toMs: nowMs, ttlMs: nowMs });
  }
  const { entries, tail } = await broker.read(channel, BEFORE_ALL, 1000);
  expect(entries.map(plain)).toEqual(model.read(BEFORE_ALL, 1000).map(plain));
  expect(tail).toEqual(model.tail);
}
