import { create } from '@bufbuild/protobuf';
import {
  type GetProjectConfigsRequest,
  type GetProjectConfigsResponse,
  GetProjectConfigsResponseSchema,
  KeyAnswerSchema,
  type KnownKey,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { ConfigCache, Lookup } from '#lib/config-cache/config-cache.ts';
import { decodeConfig } from '#lib/config-cache/config-entry.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { EncodedAnswers, type Flag } from './encoded-answers.ts';
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
  const publicKeys = request.keys.map((known) => readPublicKey(known.publicKey));
  const lookups = await cache.lookup(
    publicKeys.filter((key) => key !== undefined),
    LOOKUP_WAIT_MS,
  );
  const values = [...lookups.values()];
  if (values.length > 0 && values.every(({ kind }) => kind === 'unavailable')) throw new Refusal('store_away');

  const encoded = isBinary && relay.isTrusted ? new EncodedAnswers(request.keys.length) : undefined;
  const response = create(GetProjectConfigsResponseSchema);
  const writer = new ResponseWriter(encoded ?? new DecodedAnswers(response, relay));
  let at = 0;
  for (const known of request.keys) {
    const publicKey = publicKeys[at++];
    writer.add(known, publicKey === undefined ? UNKNOWN : lookups.get(publicKey));
  }
  const field = encoded?.field();
  if (field !== undefined) response.$unknown = [field];
  return response;
}

const UNKNOWN: Lookup = { kind: 'unknown', loadedAtMs: 0 };

/** Where answers go, in the order of the request. */
interface Answers {
  config(publicKey: string, bytes: Uint8Array): void;
  flag(publicKey: string, name: Flag): void;
}

/** For JSON, and for who gets less than what is cached. */
class DecodedAnswers implements Answers {
  readonly #response: GetProjectConfigsResponse;
  readonly #relay: Relay;

  constructor(response: GetProjectConfigsResponse, relay: Relay) {
    this.#response = response;
    this.#relay = relay;
  }

  config(publicKey: string, bytes: Uint8Array): void {
    const config = decodeConfig(bytes);
    const value = this.#relay.isTrusted ? config : limited(config);
    this.#response.answers.push(create(KeyAnswerSchema, { publicKey, answer: { case: 'config', value } }));
  }

  flag(publicKey: string, name: Flag): void {
    this.#response.answers.push(create(KeyAnswerSchema, { publicKey, answer: { case: name, value: true } }));
  }
}

/** Says of each key what is known, as long as the response has room. */
class ResponseWriter {
  readonly #answers: Answers;
  #sizeBytes = 0;

  constructor(answers: Answers) {
    this.#answers = answers;
  }

  add({ publicKey, revision }: KnownKey, lookup: Lookup | undefined): void {
    if (lookup?.kind !== 'config') {
      this.#answers.flag(publicKey, flagOf(lookup));
      return;
    }
    const { bytes } = lookup;
    // A single config is answered, however large it is.
    const isTooMuch = this.#sizeBytes > 0 && this.#sizeBytes + bytes.byteLength > MAX_RESPONSE_BYTES;
    if (lookup.revision === revision) this.#answers.flag(publicKey, 'unchanged');
    else if (isTooMuch) this.#answers.flag(publicKey, 'pending');
    else {
      this.#sizeBytes += bytes.byteLength;
      this.#answers.config(publicKey, bytes);
    }
  }
}

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
