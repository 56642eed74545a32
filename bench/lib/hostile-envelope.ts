import { GO_EVENT, JAVASCRIPT_EVENT, PYTHON_EVENT } from '../../services/relay/processing/fixtures.ts';

/** An envelope like those of SDKs, with a few things wrong: the same for the same seed. */
export function hostileEnvelope(seed: number, nowMs: number): Buffer {
  const random = randomOf(seed);
  const items = Array.from({ length: 1 + random(random(4) === 0 ? 6 : 1) }, (_, index) =>
    itemOf(random, nowMs, pick(random, index === 0 || random(20) === 0 ? KINDS : BELONGING)),
  );
  const header = mutateJson(
    random,
    {
      event_id: random(3) === 0 ? undefined : PYTHON_EVENT.event_id,
      sent_at: new Date(nowMs - random(7_200_000)).toISOString(),
      dsn: 'https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com/42',
      sdk: { name: 'sentry.python', version: '2.20.0' },
      trace: { trace_id: 'fbcc1e5d1fd84d6cb5d1c24c4ba9e63b', sample_rate: '1.0' },
    },
    random(8) === 0 ? 1 : 0,
  );
  const body = Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...items]);
  return random(3) === 0 ? mutateBytes(random, body) : body;
}

/** A whole number from 0 to below `end`. */
type Random = (end: number) => number;

/** Mulberry32: small, and the same everywhere. */
function randomOf(seed: number): Random {
  let state = seed | 0;
  return (end) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end);
  };
}

function pick<Value>(random: Random, values: readonly Value[]): Value {
  return values[random(values.length)]!;
}

const TRANSACTION = {
  type: 'transaction',
  transaction: '/api/items',
  start_timestamp: 1_795_255_190.5,
  timestamp: 1_795_255_191.5,
  contexts: { trace: { trace_id: 'a'.repeat(32), span_id: 'b'.repeat(16), op: 'http.server' } },
  spans: [{ span_id: 'c'.repeat(16), start_timestamp: 1_795_255_190.6, timestamp: '2026-11-21T10:00:00Z', op: 'db' }],
};
const FEEDBACK = { contexts: { feedback: { message: 'nice', contact_email: 'a@example.com' } }, level: 'info' };
const CSP = {
  'csp-report': {
    'document-uri': 'https://example.com/',
    'violated-directive': "script-src 'self'",
    'effective-directive': 'script-src',
    'blocked-uri': 'https://evil.com/x.js',
  },
};
const REPORTING = [
  {
    type: 'csp-violation',
    url: 'https://example.com/',
    body: { blockedURL: 'inline', effectiveDirective: 'script-src' },
  },
  { 'expect-ct-report': { hostname: 'example.com', port: 443 } },
];
const CLIENT_REPORT = {
  timestamp: 1_795_255_200,
  discarded_events: [{ reason: 'before_send', category: 'error', quantity: 2 }],
  rate_limited_events: [{ reason: 'quota', category: 'transaction', quantity: 1 }],
};

const KINDS: readonly (readonly [type: string, payload: unknown])[] = [
  ['event', PYTHON_EVENT],
  ['event', PYTHON_EVENT],
  ['event', JAVASCRIPT_EVENT],
  ['event', JAVASCRIPT_EVENT],
  ['event', GO_EVENT],
  [
    'event',
    { message: 'hello %s', logentry: { message: '%(a)s {}', params: { a: 1 } }, tags: [['a', 'b']], culprit: 'x' },
  ],
  ['event', CSP],
  ['transaction', TRANSACTION],
  ['feedback', FEEDBACK],
  ['raw_security', CSP],
  ['raw_security', REPORTING],
  ['client_report', CLIENT_REPORT],
  ['user_report', { event_id: PYTHON_EVENT.event_id, name: 'me', comments: 'it broke' }],
  ['attachment', 'some bytes of a log'],
  ['session', { sid: '1', status: 'ok' }],
  ['replay_event', { a: 1 }],
  ['nonsense', {}],
];

/** What an envelope has beside its event. */
const BELONGING = KINDS.slice(11);

function itemOf(random: Random, nowMs: number, [type, sent]: (typeof KINDS)[number]): Buffer {
  const fresh = typeof sent === 'object' && 'timestamp' in (sent ?? {}) ? { ...sent, timestamp: nowMs / 1000 } : sent;
  const json = JSON.stringify(mutateJson(random, fresh, random(5))) ?? '';
  const payload = mutateText(random, json);
  const header = {
    type: random(30) === 0 ? pick(random, KINDS)[0] : type,
    length: random(2) === 0 ? undefined : Buffer.byteLength(payload) + (random(40) === 0 ? random(10) - 5 : 0),
    filename: random(5) === 0 ? 'a.txt' : undefined,
    attachment_type: random(8) === 0 ? 'event.minidump' : undefined,
    item_count: random(8) === 0 ? hostileValue(random) : undefined,
    sentry_release: random(8) === 0 ? hostileValue(random) : undefined,
  };
  return Buffer.from(`${JSON.stringify(mutateJson(random, header, random(12) === 0 ? 1 : 0))}\n${payload}\n`);
}

/** What breaks readers: of other kinds, too long, too deep, too many, and with names that objects have anyway. */
function hostileValue(random: Random): unknown {
  const text = pick(random, [
    'x',
    '\u0000',
    '😀',
    '\ud800',
    '{{auto}}',
    '%s',
    '%(a)s{}{0}',
    'a=b;',
    '127.0.0.1',
    '*',
    '\\',
    '://',
  ]);
  return pick<() => unknown>(random, [
    () => null,
    () => '',
    () => text,
    () => text.repeat(random(20_000)),
    () => random(2) === 0,
    () => pick(random, [0, -1, 1.5, 1e308, -1e-308, 2 ** 53, 2 ** 63, 253_402_300_800, 1e15]),
    () => [],
    () => ({}),
    () => [[[[[text]]]]],
    () => nested(random(300)),
    () => Array.from({ length: random(2000) }, () => text),
    () => Array.from({ length: random(300) }, (_, index) => [`${text}${index}`, text]),
    () => Object.fromEntries(Array.from({ length: random(300) }, (_, index) => [`${text}${index}`, index])),
    () => JSON.parse(`{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toJSON":1,"":{}}`),
    () => ({ values: pick(random, [null, [null], [5], [[]], [{}], 'x', { 0: {} }]) }),
    () => ({ '': { err: 5, rem: 'x', len: [] } }),
    () => '2026-02-31T25:61:61.999999999999+99:99',
  ])();
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** A copy in which so many values are replaced, or copied to another's place. */
function mutateJson(random: Random, value: unknown, times: number): unknown {
  if (times === 0) return value;
  const copy: unknown = structuredClone(value);
  for (let time = 0; time < times; time++) mutateOne(random, copy);
  return copy;
}

function mutateOne(random: Random, root: unknown): void {
  let node = root;
  for (let depth = 0; depth < 12 && typeof node === 'object' && node !== null; depth++) {
    const holder = node as Record<string, unknown>;
    const keys = Object.keys(holder);
    const key = keys.length === 0 ? 'a' : pick(random, keys);
    const next = holder[key];
    if (typeof next === 'object' && next !== null && random(4) !== 0) {
      node = next;
      continue;
    }
    const name =
      random(6) === 0 ? pick(random, ['_meta', 'tags', 'user', 'exception', 'csp', 'stacktrace', 'threads', 'a']) : key;
    if (random(8) === 0) delete holder[name];
    else if (random(6) === 0 && keys.length > 0) holder[name] = structuredClone(holder[pick(random, keys)]);
    else holder[name] = hostileValue(random);
    return;
  }
}

/** What JSON.stringify never writes. */
function mutateText(random: Random, json: string): string {
  if (random(6) !== 0 || json.length === 0) return json;
  const at = random(json.length);
  const insert = pick(random, [
    'NaN',
    '-Infinity',
    '1e999',
    '123456789012345678901',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ',',
    ':',
    '\ufeff',
    '\n',
    '/**/',
    '"a":1,"a":2,',
  ]);
  const number = json.replace(/:(\d+)/, () => `:${insert}`);
  return pick(random, [
    json.slice(0, at) + insert + json.slice(at),
    json.slice(0, at),
    number,
    number,
    `${insert}${json}`,
  ]);
}

function mutateBytes(random: Random, body: Buffer): Buffer {
  const bytes = Buffer.from(body);
  const at = random(bytes.length);
  const end = Math.min(bytes.length, at + random(64));
  switch (random(5)) {
    case 0:
      bytes[at] = random(256);
      return bytes;
    case 1:
      bytes[at] = bytes[at]! ^ (1 << random(8));
      return bytes;
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    default:
      return bytes.subarray(0, at);
  }
}
