import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { gzipSync } from 'node:zlib';

// The load of the benchmarks of events, in a process of its own: envelopes as @sentry/node sends them (the key in the
// query, a chunked body, items without length), over connections that stay. It is told what to send by its parent.

export interface Load {
  readonly host: string;
  readonly port: number;
  /** With the query. */
  readonly path: string;
  readonly seconds: number;
  /** Of requests; 0: as many as are answered. An answer's time counts from when its request was due. */
  readonly ratePerSec: number;
  readonly connections: number;
  readonly gzip?: boolean;
}

export interface Answers {
  readonly sent: number;
  /** By status. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Of the answers of each status. */
  readonly p99MsOf: Readonly<Record<string, number>>;
  readonly p50MsOf: Readonly<Record<string, number>>;
  readonly cpuUs: number;
}

const EVENT_BYTES = 1_300;
const TICK_MS = 1;
const HEX = Buffer.from('0123456789abcdef');
const CONTENT_LENGTH = /content-length: (\d+)/i;

if (process.send !== undefined) {
  process.on('message', (load: Load) => {
    void run(load).then((answers) => process.send?.(answers));
  });
  process.on('disconnect', () => process.exit(0));
}

async function run(load: Load): Promise<Answers> {
  const make = requestMaker(load);
  const times = new Map<string, number[]>();
  const due: number[] = [];
  let sent = 0;
  let isOver = false;
  const cpu = process.cpuUsage();
  const fromMs = performance.now();

  const onAnswer = (status: string, dueMs: number) => {
    const some = times.get(status) ?? [];
    times.set(status, some);
    some.push(performance.now() - dueMs);
  };
  const idle: Connection[] = [];
  const next = (connection: Connection) => {
    if (load.ratePerSec === 0) {
      if (isOver) idle.push(connection);
      else send(connection, performance.now());
      return;
    }
    const dueMs = due.shift();
    if (dueMs === undefined) idle.push(connection);
    else send(connection, dueMs);
  };
  const send = (connection: Connection, dueMs: number) => {
    sent++;
    connection.send(make(), dueMs);
  };
  const all = await Promise.all(
    Array.from({ length: load.connections }, () => Connection.open(load.host, load.port, onAnswer, next)),
  );
  for (const connection of all) next(connection);
  await new Promise<void>((resolve) => {
    let scheduled = 0;
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - fromMs;
      if (elapsedMs > load.seconds * 1_000) {
        clearInterval(timer);
        isOver = true;
        resolve();
        return;
      }
      for (const wanted = (elapsedMs * load.ratePerSec) / 1_000; scheduled < wanted; scheduled++) {
        const dueMs = fromMs + (scheduled * 1_000) / load.ratePerSec;
        const connection = idle.pop();
        if (connection === undefined) due.push(dueMs);
        else send(connection, dueMs);
      }
    }, TICK_MS);
  });
  const seconds = (performance.now() - fromMs) / 1_000;
  const untilMs = performance.now() + 5_000;
  while (idle.length < all.length && performance.now() < untilMs) await new Promise((go) => setTimeout(go, 10));
  for (const connection of all) connection.close();
  const { user, system } = process.cpuUsage(cpu);
  const sorted = [...times.values()].flat().sort((a, b) => a - b);
  const of = (share: number) =>
    Object.fromEntries(
      [...times].map(([status, some]) => [
        status,
        at(
          some.toSorted((a, b) => a - b),
          share,
        ),
      ]),
    );
  return {
    sent,
    statuses: Object.fromEntries([...times].map(([status, { length }]) => [status, length])),
    seconds,
    p50Ms: at(sorted, 0.5),
    p99Ms: at(sorted, 0.99),
    maxMs: at(sorted, 1),
    p50MsOf: of(0.5),
    p99MsOf: of(0.99),
    cpuUs: user + system,
  };
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
}

/** One request at a time, and its answer by what is needed to count it. */
class Connection {
  readonly #socket: Socket;
  readonly #onAnswer: (status: string, dueMs: number) => void;
  readonly #onIdle: (connection: Connection) => void;
  #dueMs = 0;
  #answer = '';

  static open(
    host: string,
    port: number,
    onAnswer: (status: string, dueMs: number) => void,
    onIdle: (connection: Connection) => void,
  ): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true });
      socket.on('connect', () => resolve(new Connection(socket, onAnswer, onIdle)));
      socket.on('error', reject);
    });
  }

  private constructor(
    socket: Socket,
    onAnswer: (status: string, dueMs: number) => void,
    onIdle: (connection: Connection) => void,
  ) {
    this.#socket = socket;
    this.#onAnswer = onAnswer;
    this.#onIdle = onIdle;
    socket.setEncoding('latin1').on('data', (text: string) => this.#read(text));
    socket.on('close', () => {
      if (this.#dueMs > 0) onAnswer('cut', this.#dueMs);
    });
  }

  send(request: Buffer, dueMs: number): void {
    this.#dueMs = dueMs;
    this.#socket.write(request);
  }

  close(): void {
    this.#dueMs = 0;
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#answer += text;
    const answer = this.#answer;
    const head = answer.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(CONTENT_LENGTH.exec(answer)?.[1] ?? 0);
    if (answer.length < head + 4 + length) return;
    this.#answer = '';
    this.#onAnswer(answer.slice(9, 12), this.#dueMs);
    this.#dueMs = 0;
    this.#onIdle(this);
  }
}

/** Each time with another event's id. */
function requestMaker({ path, gzip = false }: Load): () => Buffer {
  const mark = 'f'.repeat(32);
  const body = Buffer.from(envelope(mark));
  const places = [body.indexOf(mark), body.lastIndexOf(mark)];
  const head = (more: string) =>
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: node\r\naccept: */*\r\n` +
    `content-type: application/x-sentry-envelope\r\n${more}transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n`;
  if (gzip) {
    return () => {
      for (const place of places) writeId(body, place);
      const packed = gzipSync(body, { level: 1 });
      const before = `${head('content-encoding: gzip\r\n')}${packed.byteLength.toString(16)}\r\n`;
      return Buffer.concat([Buffer.from(before), packed, END]);
    };
  }
  const before = Buffer.from(`${head('')}${body.byteLength.toString(16)}\r\n`);
  const whole = Buffer.concat([before, body, END]);
  return () => {
    const request = Buffer.from(whole);
    const [first = 0, second = 0] = places;
    writeId(request, before.byteLength + first);
    request.copyWithin(before.byteLength + second, before.byteLength + first, before.byteLength + first + 32);
    return request;
  };
}

const END = Buffer.from('\r\n0\r\n\r\n');
let random = randomBytes(16_384);
let used = 0;

function writeId(target: Buffer, from: number): void {
  if (used === random.length) {
    random = randomBytes(16_384);
    used = 0;
  }
  for (let n = 0; n < 16; n++) {
    const byte = random[used++] ?? 0;
    target[from + 2 * n] = HEX[byte >> 4] ?? 0;
    target[from + 2 * n + 1] = HEX[byte & 15] ?? 0;
  }
}

/** An error as Node's SDK tells it. The event is the bytes that count; its envelope adds 300. */
function envelope(eventId: string): string {
  const sdk = { name: 'sentry.javascript.node', version: '10.20.0' };
  const trace = {
    environment: 'production',
    release: 'shop@1.2.3',
    public_key: 'a'.repeat(32),
    trace_id: 'b'.repeat(32),
  };
  const frame = (name: string, line: number) => ({
    filename: `/app/dist/${name}.js`,
    function: `Shop.${name}`,
    lineno: line,
    colno: 17,
    in_app: true,
    module: name,
  });
  const event = {
    exception: {
      values: [
        {
          type: 'TypeError',
          value: "Cannot read properties of undefined (reading 'price')",
          stacktrace: { frames: [frame('server', 12), frame('checkout', 88), frame('priceOf', 31)] },
          mechanism: { type: 'generic', handled: true },
        },
      ],
    },
    event_id: eventId,
    level: 'error',
    platform: 'node',
    timestamp: Date.now() / 1_000,
    server_name: 'web-1',
    environment: 'production',
    release: 'shop@1.2.3',
    sdk: { ...sdk, integrations: ['InboundFilters', 'Http', 'OnUncaughtException', 'ContextLines'] },
    contexts: {
      trace: { trace_id: 'b'.repeat(32), span_id: 'c'.repeat(16) },
      runtime: { name: 'node', version: 'v24.1.0' },
      os: { name: 'Linux', version: '6.1' },
    },
    user: { id: 'u-17', email: 'ada@example.com' },
    tags: { customer: 'acme', plan: 'pro' },
    extra: { note: '' },
  };
  event.extra.note = 'x'.repeat(Math.max(0, EVENT_BYTES - JSON.stringify(event).length));
  const header = { event_id: eventId, sent_at: new Date().toISOString(), sdk, trace };
  return `${JSON.stringify(header)}\n${JSON.stringify({ type: 'event' })}\n${JSON.stringify(event)}\n`;
}
