import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type IncomingHttpHeaders } from 'node:http2';
import { create, type JsonObject, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { expect } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { keysFromPem } from '#lib/auth/key-source.ts';
import { createPublishTokenVerifier } from '#lib/auth/publish-token.ts';
import { AUDIENCE, ISSUER, makeKeys } from '#lib/auth/testing.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { BEFORE_ALL } from '#lib/broker/entry-id.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { Gate } from '#lib/server/gate.ts';
import { type RunningService, runService } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { publishService } from './routes.ts';

interface Side {
  readonly name: string;
  readonly broker: Broker;
  readonly service: RunningService;
}

export interface Call {
  readonly contentType: string;
  readonly chunks: readonly Uint8Array[];
  readonly headers?: Record<string, string>;
}

/** For what hangs, not for what is slow. */
const CALL_DEADLINE_MS = 15_000;

/**
 * A publisher is answered what connect-node would have answered it: every call is made twice, of two services that differ in
 * that alone, with brokers of one clock, and what comes back and what is stored is compared.
 */
export class TwoSides {
  readonly #path: string;
  readonly #keys = makeKeys('EdDSA');
  readonly #ratePerSec: number;
  #sides: readonly Side[] = [];

  private constructor(method: string, ratePerSec: number) {
    this.#path = `/tideway.stream.v1.PublishService/${method}`;
    this.#ratePerSec = ratePerSec;
  }

  static async start(method: string, ratePerSec = 0): Promise<TwoSides> {
    const made = new TwoSides(method, ratePerSec);
    made.#sides = [await made.#start(true), await made.#start(false)];
    return made;
  }

  async stop(): Promise<void> {
    for (const { service } of this.#sides) await service.stop();
  }

  newToken(claims: Record<string, unknown> = {}): Promise<string> {
    const exp = Math.floor(Date.now() / 1000) + 600;
    return this.#keys.sign({ iss: ISSUER, aud: AUDIENCE, exp, jti: randomUUID(), ...claims });
  }

  /** The answer of both. */
  async same(made: Call) {
    const [our, their] = await Promise.all(this.#sides.map((side) => this.#call(side, made)));
    expect(our).toEqual(their);
    return our;
  }

  async sameIsStored(orgIds: readonly bigint[], channelIds: readonly string[]): Promise<void> {
    for (const channelId of channelIds) {
      for (const orgId of orgIds) {
        const channel = channelKey(orgId, channelId);
        const [our, their] = await Promise.all(
          this.#sides.map(({ broker }) => broker.read(channel, BEFORE_ALL, 10_000)),
        );
        expect(our).toEqual(their);
      }
    }
  }

  async #start(isRaw: boolean): Promise<Side> {
    const logger = createLogger('test', 'silent');
    const broker = createMemoryBroker({ now: () => 1_700_000_000_000 });
    const publishTokens = createPublishTokenVerifier({
      issuer: ISSUER,
      audience: AUDIENCE,
      keys: [keysFromPem({ name: 'KEY', pem: this.#keys.publicPem })],
    });
    const part = publishService({
      gate: new Gate({ publishTokens }),
      broker,
      logger,
      ratePerSec: this.#ratePerSec,
      streamRatePerSec: 0,
    });
    const parts = [isRaw ? part : { ...part, rawRpcs: [] }];
    const service = await runService({
      host: '127.0.0.1',
      port: 0,
      broker,
      parts,
      reflection: false,
      drainTimeoutMs: 400,
      logger,
    });
    return { name: isRaw ? 'ours' : 'connect-node', broker, service };
  }

  async #call({ name, service }: Side, { contentType, chunks, headers = {} }: Call) {
    const session = connect(`http://127.0.0.1:${service.port}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': this.#path,
      'content-type': contentType,
      te: 'trailers',
      ...headers,
    });
    let trailers: IncomingHttpHeaders = {};
    stream.on('trailers', (received) => {
      trailers = received;
    });
    const deadline = setTimeout(() => {
      stream.destroy(new Error(`${name} has not answered within ${CALL_DEADLINE_MS} ms`));
    }, CALL_DEADLINE_MS);
    const answered = once(stream, 'response') as Promise<[IncomingHttpHeaders]>;
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
    const [{ date: _, ...head }] = await answered;
    const body = Buffer.concat(await stream.toArray());
    clearTimeout(deadline);
    session.destroy();
    return { head: { ...head }, body: body.toString('latin1'), trailers: { ...trailers } };
  }
}

export const CHANNELS = ['0190a8a0-0000-7000-8000-000000000001', '0190A8A0-0000-7000-8000-00000000000A'];

const payloads = fc.option(
  fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
  { nil: undefined },
);

/** Encoded messages, of which `weightOfWrong` in a hundred or so have something wrong with them. */
export function messagesOf(options: { readonly weightOfWrong: number; readonly channelIds?: readonly string[] }) {
  const { weightOfWrong, channelIds = CHANNELS } = options;
  const mostly = <T>(right: readonly T[], wrong: T) =>
    fc.oneof(
      { weight: 100, arbitrary: fc.constantFrom(...right) },
      { weight: weightOfWrong, arbitrary: fc.constant(wrong) },
    );
  return fc
    .record({
      channelId: mostly(channelIds, 'no channel'),
      messageId: mostly(
        Array.from({ length: 8 }, (_, n) => `0190a8a0-0000-7000-9000-00000000000${n}`),
        'x',
      ),
      phase: fc.oneof(
        { weight: 100, arbitrary: fc.constantFrom(Phase.DELTA, Phase.START, Phase.ERROR) },
        { weight: 2, arbitrary: fc.constant(Phase.END) },
        { weight: weightOfWrong, arbitrary: fc.constantFrom(Phase.UNSPECIFIED, 9 as Phase) },
      ),
      sequence: fc.constantFrom(0n, 1n, 300n, 2n ** 64n - 1n),
      orgId: mostly([1n], 2n),
      payload: payloads,
    })
    .map(({ payload, phase, ...fields }) =>
      toBinary(
        PublishRequestSchema,
        create(PublishRequestSchema, {
          ...fields,
          phase: phase as Phase,
          ...(payload && { payload: payload as JsonObject }),
        }),
      ),
    );
}

/** Bytes as the first field of a message. */
export function asField(data: Uint8Array): Uint8Array {
  const length = [];
  let rest = data.length;
  for (; rest > 127; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.from([0x0a, ...length, rest, ...data]);
}

export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, n) => bytes.subarray(sorted[n - 1] ?? 0, end));
}
