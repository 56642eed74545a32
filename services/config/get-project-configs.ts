import { create, type DescField, type UnknownField } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  type GetProjectConfigsRequest,
  type GetProjectConfigsResponse,
  GetProjectConfigsResponseSchema,
  type KeyAnswer,
  KeyAnswerSchema,
  type KnownKey,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { ConfigCache, Lookup } from '#lib/config-cache/config-cache.ts';
import { decodeConfig } from '#lib/config-cache/config-entry.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { limited } from './limited-config.ts';
import { readPublicKey } from './public-key.ts';
import type { Relay } from './relays.ts';

/** Long enough for a key that only has to be read; who waits for longer asks again. */
export const LOOKUP_WAIT_MS = 200;
/** For what a relay was told elsewhere. */
export const CATCH_UP_MS = 1_000;
/** Below what gRPC clients take by default, 4 MiB. What does not fit is asked for again. */
export const MAX_RESPONSE_BYTES = 3 * 1024 * 1024;

/**
 * Answers each key in the order of the request.
 * @throws Refusal `store_away` where none of the keys can be answered.
 */
export async function getProjectConfigs(
  cache: ConfigCache,
  request: GetProjectConfigsRequest,
  relay: Relay,
  isBinary: boolean,
): Promise<GetProjectConfigsResponse> {
  // With the store away what is cached is all there is, and still better than nothing.
  if (request.seen !== '') await cache.catchUp(CATCH_UP_MS, request.seen);
  const keys = request.keys.map((known) => ({ known, publicKey: readPublicKey(known.publicKey) }));
  const wanted = keys.map(({ publicKey }) => publicKey).filter((key) => key !== undefined);
  const lookups = await cache.lookup(wanted, LOOKUP_WAIT_MS);
  const values = [...lookups.values()];
  if (values.length > 0 && values.every(({ kind }) => kind === 'unavailable')) throw new Refusal('store_away');

  const response = create(GetProjectConfigsResponseSchema);
  const writer = new ResponseWriter(response, relay, isBinary);
  for (const { known, publicKey } of keys) {
    writer.add(known, publicKey === undefined ? { kind: 'unknown', loadedAtMs: 0 } : lookups.get(publicKey));
  }
  return response;
}

/**
 * Fills a response. What a trusted relay gets in protobuf is already encoded: it goes into the message as the bytes of
 * its field, which protobuf's writer passes on as they are, so nothing is decoded to be encoded again.
 */
class ResponseWriter {
  readonly #response: GetProjectConfigsResponse;
  readonly #relay: Relay;
  readonly #passed: UnknownField[] | undefined;
  readonly #writer = new BinaryWriter();
  #sizeBytes = 0;

  constructor(response: GetProjectConfigsResponse, relay: Relay, isBinary: boolean) {
    this.#response = response;
    this.#relay = relay;
    if (!isBinary || !relay.isTrusted) return;
    this.#passed = [];
    response.$unknown = this.#passed;
  }

  add({ publicKey, revision }: KnownKey, lookup: Lookup | undefined): void {
    if (lookup?.kind !== 'config') {
      this.#flag(publicKey, flagOf(lookup));
      return;
    }
    const { bytes } = lookup;
    // A single config is answered, however large it is.
    const isTooMuch = this.#sizeBytes > 0 && this.#sizeBytes + bytes.byteLength > MAX_RESPONSE_BYTES;
    if (lookup.revision === revision) this.#flag(publicKey, 'unchanged');
    else if (isTooMuch) this.#flag(publicKey, 'pending');
    else this.#config(publicKey, bytes);
  }

  #config(publicKey: string, bytes: Uint8Array): void {
    this.#sizeBytes += bytes.byteLength;
    if (this.#passed !== undefined) {
      this.#pass(publicKey, KeyAnswerSchema.field.config, (writer) => writer.bytes(bytes));
      return;
    }
    const config = decodeConfig(bytes);
    const value = this.#relay.isTrusted ? config : limited(config);
    this.#response.answers.push(create(KeyAnswerSchema, { publicKey, answer: { case: 'config', value } }));
  }

  #flag(publicKey: string, name: Flag): void {
    if (this.#passed !== undefined) {
      this.#pass(publicKey, KeyAnswerSchema.field[name], (writer) => writer.bool(true));
    } else {
      this.#response.answers.push(create(KeyAnswerSchema, { publicKey, answer: { case: name, value: true } }));
    }
  }

  #pass(publicKey: string, field: DescField, write: (writer: BinaryWriter) => BinaryWriter): void {
    const wireType = field.fieldKind === 'message' ? WireType.LengthDelimited : WireType.Varint;
    const start = this.#writer.fork().tag(KeyAnswerSchema.field.publicKey.number, WireType.LengthDelimited);
    const data = write(start.string(publicKey).tag(field.number, wireType)).join().finish();
    const { number } = GetProjectConfigsResponseSchema.field.answers;
    this.#passed?.push({ no: number, wireType: WireType.LengthDelimited, data });
  }
}

type Flag = Exclude<KeyAnswer['answer']['case'], 'config' | undefined>;

function flagOf(lookup: Exclude<Lookup, { kind: 'config' }> | undefined): Flag {
  switch (lookup?.kind) {
    case 'disabled':
    case 'unknown':
      return 'disabled';
    case 'unavailable':
      return 'unavailable';
    default:
      return 'pending';
  }
}
