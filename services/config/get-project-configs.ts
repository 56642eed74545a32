import { create, toBinary } from '@bufbuild/protobuf';
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
  readonly #passesBytes: boolean;
  #sizeBytes = 0;

  constructor(response: GetProjectConfigsResponse, relay: Relay, isBinary: boolean) {
    this.#response = response;
    this.#relay = relay;
    this.#passesBytes = isBinary && relay.isTrusted;
    if (this.#passesBytes) response.$unknown = [];
  }

  add({ publicKey, revision }: KnownKey, lookup: Lookup | undefined): void {
    if (lookup?.kind !== 'config') {
      this.#push({ publicKey, answer: answerOf(lookup) });
      return;
    }
    if (lookup.revision === revision) {
      this.#push({ publicKey, answer: { case: 'unchanged', value: true } });
      return;
    }
    const { bytes } = lookup;
    // A single config is answered, however large it is.
    if (this.#sizeBytes > 0 && this.#sizeBytes + bytes.byteLength > MAX_RESPONSE_BYTES) {
      this.#push({ publicKey, answer: { case: 'pending', value: true } });
      return;
    }
    this.#sizeBytes += bytes.byteLength;
    if (this.#passesBytes) {
      this.#pass(new BinaryWriter().tag(1, WireType.LengthDelimited).string(publicKey), bytes);
    } else {
      const config = decodeConfig(bytes);
      const value = this.#relay.isTrusted ? config : limited(config);
      this.#push({ publicKey, answer: { case: 'config', value } });
    }
  }

  #push(answer: Pick<KeyAnswer, 'publicKey' | 'answer'>): void {
    const message = create(KeyAnswerSchema, answer);
    if (this.#passesBytes) this.#passAnswer(toBinary(KeyAnswerSchema, message));
    else this.#response.answers.push(message);
  }

  #pass(head: BinaryWriter, config: Uint8Array): void {
    this.#passAnswer(head.tag(2, WireType.LengthDelimited).bytes(config).finish());
  }

  #passAnswer(answer: Uint8Array): void {
    const data = new BinaryWriter().bytes(answer).finish();
    this.#response.$unknown?.push({ no: 1, wireType: WireType.LengthDelimited, data });
  }
}

function answerOf(lookup: Exclude<Lookup, { kind: 'config' }> | undefined): KeyAnswer['answer'] {
  switch (lookup?.kind) {
    case 'disabled':
    case 'unknown':
      return { case: 'disabled', value: true };
    case 'unavailable':
      return { case: 'unavailable', value: true };
    default:
      return { case: 'pending', value: true };
  }
}
