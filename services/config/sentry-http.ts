import { type HttpCall, type HttpRoute, sendJson } from '#lib/server/http-route.ts';
import { headerOf, readBody } from '#lib/server/node-http.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { isExpired, parseSignature, verifies } from './relay-signature.ts';
import type { Relays, SigningRelay } from './relays.ts';

/** What the routes of Sentry's upstream protocol share: a body that is bounded, JSON and signed, and its errors. */
export const MAX_JSON_BYTES = 256 * 1024;

/** An answer of the protocol that is not 200. `stop`: the relay is refused for good and should not come back. */
export class SentryRefusal extends Error {
  override readonly name = 'SentryRefusal';
  readonly status: number;
  readonly stop: boolean;

  constructor(status: number, detail: string, options: { readonly stop?: boolean } = {}) {
    super(detail);
    this.status = status;
    this.stop = options.stop ?? false;
  }
}

export interface SignedCall {
  readonly call: HttpCall;
  /** @throws SentryRefusal unless the body is a JSON object. */
  json(): Readonly<Record<string, unknown>>;
  /** @throws SentryRefusal unless this relay has signed the body just now. */
  requireSignatureOf(relay: SigningRelay): void;
  /** The relay that has signed the body. @throws SentryRefusal */
  requireRelay(relays: Relays): SigningRelay;
}

/** `path` without slashes at its ends. Runs of slashes count as one. */
export function signedRoute(path: string, handle: (call: SignedCall) => Promise<unknown> | unknown): HttpRoute {
  return {
    methods: ['POST'],
    path: sentryPath(path),
    cors: false,
    async handle(call) {
      try {
        sendJson(call.response, 200, await handle(await readSigned(call)));
      } catch (error) {
        sendRefusal(call, error);
      }
    },
  };
}

export function sentryPath(path: string): RegExp {
  return new RegExp(`^/+${path.replaceAll('/', '/+')}/*$`);
}

async function readSigned(call: HttpCall): Promise<SignedCall> {
  const { request } = call;
  const encoding = headerOf(request, 'content-encoding') ?? 'identity';
  if (encoding !== '' && encoding !== 'identity') throw new SentryRefusal(415, 'unsupported content encoding');
  // What can be told without a body is told without one.
  const signature = parseSignature(headerOf(request, 'x-sentry-relay-signature') ?? '');
  if (signature === undefined) throw new SentryRefusal(401, 'missing or malformed relay signature');
  if (isExpired(signature, Date.now())) throw new SentryRefusal(401, 'relay signature expired');
  const body = await readBody(request, MAX_JSON_BYTES, () => new Refusal('too_large', { text: 'payload too large' }));
  return {
    call,
    json: () => readJson(body),
    requireSignatureOf(relay) {
      if (!verifies(signature, body, relay.key)) throw new SentryRefusal(401, 'invalid relay signature');
    },
    requireRelay(relays) {
      requireRelayId(headerOf(request, 'x-sentry-relay-id'));
      const relay = relays.keys.find(({ key }) => verifies(signature, body, key));
      if (relay === undefined) throw new SentryRefusal(401, 'invalid relay signature');
      return relay;
    },
  };
}

const UUID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

/** @throws SentryRefusal */
export function requireRelayId(text: unknown): string {
  if (typeof text !== 'string' || !UUID.test(text)) throw new SentryRefusal(400, 'missing or malformed relay id');
  return text.toLowerCase();
}

function readJson(body: Uint8Array): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  } catch {
    throw new SentryRefusal(400, 'invalid JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new SentryRefusal(400, 'the body must be an object');
  }
  return { ...json };
}

/** What is neither of the refusals goes on to whoever called. */
function sendRefusal({ response }: HttpCall, error: unknown): void {
  if (!(error instanceof SentryRefusal || error instanceof Refusal)) throw error;
  if (error instanceof Refusal && error.retryAfterSec !== undefined) {
    response.setHeader('Retry-After', String(error.retryAfterSec));
  }
  const stop = error instanceof SentryRefusal && error.stop ? { relay: 'stop' } : {};
  sendJson(response, error.status, { detail: error.message, ...stop });
}
