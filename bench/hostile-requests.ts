import { connect, type Socket } from 'node:net';
import process from 'node:process';
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { hostileEnvelope } from './lib/hostile-envelope.ts';

// The sender of hostile-http.ts, in a process of its own: envelopes that are mutated, in requests that are, too.

export interface Hostility {
  readonly port: number;
  readonly key: string;
  readonly project: string;
  readonly seed: number;
  readonly count: number;
  readonly connections: number;
}

/** What became of the requests so far. */
export interface Became {
  readonly done: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** Of those that were answered with a fault, or with nothing. */
  readonly badSeeds: readonly string[];
  readonly isOver: boolean;
}

const ANSWER_DEADLINE_MS = 20_000;
const REPORT_MS = 1_000;
const MAX_BAD_SEEDS = 20;
const HOSTILE_ID = /"event_id":"[0-9a-f]{32}"/g;
const DSN = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com/42';

if (process.send !== undefined) {
  process.once('message', (hostility: Hostility) => void run(hostility));
  process.on('disconnect', () => process.exit(0));
}

async function run(hostility: Hostility): Promise<void> {
  const { port, seed, count, connections } = hostility;
  const statuses: Record<string, number> = {};
  const badSeeds: string[] = [];
  let begun = 0;
  let done = 0;
  const report = (isOver: boolean) => process.send?.({ done, statuses, badSeeds, isOver } satisfies Became);
  const reporting = setInterval(() => report(false), REPORT_MS);
  const worker = async () => {
    const line = new Line(port);
    while (begun < count) {
      const own = seed + begun++;
      const { bytes, isCut } = requestOf(own, hostility);
      const wasUsed = line.isOpen;
      let status = await line.ask(bytes, isCut);
      // A connection that stayed may be closed at this moment: clients ask again on a new one.
      if (status === 'none' && wasUsed && !isCut) status = await line.ask(bytes, isCut);
      statuses[status] = (statuses[status] ?? 0) + 1;
      done++;
      const isBad = status === 'none' ? !isCut : status.startsWith('5') && status !== '503';
      if (isBad && badSeeds.length < MAX_BAD_SEEDS) badSeeds.push(`${own} (${status})`);
    }
    line.close();
  };
  await Promise.all(Array.from({ length: connections }, worker));
  clearInterval(reporting);
  report(true);
}

/** A connection, opened again whenever the other side has closed it. */
class Line {
  readonly #port: number;
  #socket: Socket | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  /** The status, or that there was none. A request that is cut is sent, and then the connection ends. */
  ask(bytes: Buffer, isCut: boolean): Promise<string> {
    return new Promise((resolve) => {
      const socket = this.#socket ?? connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
      this.#socket = socket;
      let answer = '';
      const end = (status: string, keep: boolean) => {
        socket.removeAllListeners();
        socket.setTimeout(0);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          if (this.#socket === socket) this.#socket = undefined;
        });
        if (!keep || socket.destroyed) {
          socket.destroy();
          this.#socket = undefined;
        }
        resolve(status);
      };
      const statusOf = () => (answer.length >= 12 ? answer.slice(9, 12) : 'none');
      socket.on('data', (data) => {
        answer += data.toString('latin1');
        const head = answer.indexOf('\r\n\r\n');
        if (head < 0) return;
        const length = Number(/content-length: (\d+)/i.exec(answer)?.[1] ?? 0);
        if (answer.length < head + 4 + length) return;
        end(statusOf(), !/connection: close/i.test(answer));
      });
      socket.on('error', () => end(statusOf(), false));
      socket.on('close', () => end(statusOf(), false));
      socket.setTimeout(ANSWER_DEADLINE_MS, () => end('none', false));
      socket.write(bytes);
      if (isCut) socket.end();
    });
  }

  close(): void {
    this.#socket?.destroy();
  }
}

/** The same for the same seed. */
export function requestOf(seed: number, { key, project }: Hostility): { bytes: Buffer; isCut: boolean } {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  const random = (end: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
  // Half of them are events that were not there yet.
  const isNew = random(2) === 0;
  const id = (seed >>> 0).toString(16).padStart(32, 'e');
  const text = hostileEnvelope(seed, Date.now()).toString('latin1').replace(DSN, `${key}@example.com/${project}`);
  const body = Buffer.from(isNew ? text.replace(HOSTILE_ID, `"event_id":"${id}"`) : text, 'latin1');
  const [path, isAlone] = pathOf(random, project);
  const payload = isAlone ? body.subarray(body.indexOf(0x7b, body.indexOf(0x0a) + 1)) : body;
  const [encoding, packed] = encode(random, Buffer.from(payload));
  const auth = random(20) === 0 ? mangled(random, `Sentry sentry_key=${key}, sentry_version=7`) : undefined;
  const query = auth === undefined ? `?sentry_key=${key}&sentry_version=7` : '';
  const isCut = random(200) === 0;
  const head = [
    `POST ${path}${query} HTTP/1.1`,
    'host: localhost',
    `content-type: ${isAlone ? 'application/json' : 'text/plain'}`,
    ...(encoding === undefined ? [] : [`content-encoding: ${encoding}`]),
    ...(auth === undefined ? [] : [`x-sentry-auth: ${auth}`]),
    ...(random(4) === 0 ? [`x-forwarded-for: ${mangled(random, '203.0.113.7, 10.0.0.1')}`] : []),
    ...(random(4) === 0 ? [`origin: ${mangled(random, 'https://shop.example')}`] : []),
  ];
  return { bytes: isCut ? cutOf(head, packed, random) : whole(head, packed, random), isCut };
}

function cutOf(head: readonly string[], body: Buffer, random: (end: number) => number): Buffer {
  const lines = [...head, `content-length: ${body.byteLength + 1 + random(10_000)}`];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

function whole(head: readonly string[], body: Buffer, random: (end: number) => number): Buffer {
  if (random(2) === 0) {
    const lines = [...head, `content-length: ${body.byteLength}`];
    return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
  }
  const pieces: Buffer[] = [Buffer.from(`${[...head, 'transfer-encoding: chunked'].join('\r\n')}\r\n\r\n`, 'latin1')];
  for (let at = 0; at < body.byteLength; ) {
    const piece = body.subarray(at, at + 1 + random(2_000));
    pieces.push(Buffer.from(`${piece.byteLength.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
    at += piece.byteLength;
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]);
}

/** And whether it takes a payload alone. */
function pathOf(random: (end: number) => number, project: string): readonly [path: string, isAlone: boolean] {
  switch (random(20)) {
    case 0:
      return [`/api/${project}/store/`, true];
    case 1:
      return [`/api/${project}/security/`, true];
    case 2:
      return [`//api//${project}/envelope`, false];
    case 3:
      return [`/api/${random(100)}${project}/envelope/`, false];
    case 4:
      return [`/api/${project}/minidump/`, false];
    default:
      return [`/api/${project}/envelope/`, false];
  }
}

const FAST = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };

function encode(
  random: (end: number) => number,
  body: Buffer<ArrayBuffer>,
): readonly [encoding: string | undefined, Buffer] {
  switch (random(12)) {
    case 0:
      return ['gzip', gzipSync(body, { level: 1 })];
    case 1:
      return ['deflate', deflateSync(body, { level: 1 })];
    case 2:
      return ['br', brotliCompressSync(body, FAST)];
    case 3:
      return ['zstd', zstdCompressSync(body)];
    case 4: {
      const packed = gzipSync(body, { level: 1 });
      packed[random(packed.byteLength)] = random(256);
      return ['gzip', random(2) === 0 ? packed : packed.subarray(0, random(packed.byteLength))];
    }
    case 5:
      return [['gzip', 'br', 'zstd', 'deflate', 'snappy', 'gzip, gzip'][random(6)], body];
    default:
      return [undefined, body];
  }
}

/** With a character or two that are others, of those that a header can have. */
function mangled(random: (end: number) => number, text: string): string {
  const at = random(text.length);
  return `${text.slice(0, at)}${String.fromCharCode(0x20 + random(0x5f))}${text.slice(at + random(3))}`;
}
