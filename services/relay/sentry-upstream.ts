import type { RelayIdentity } from './relay-identity.ts';

/** A Sentry upstream that takes signed JSON. */
export interface SentryUpstream {
  /** Registers first where the upstream wants that. @throws UpstreamError, and what fetch throws */
  post(path: string, body: object, signal: AbortSignal): Promise<unknown>;
}

export interface SentryUpstreamOptions {
  /** Without a slash at its end. */
  readonly url: string;
  readonly identity: RelayIdentity;
  readonly timeoutMs?: number;
  readonly maxResponseBytes?: number;
}

/** What an upstream answers that is not 200 with JSON. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly reason: 'status' | 'stopped' | 'too_large' | 'no_json';
  readonly status: number;

  constructor(reason: UpstreamError['reason'], status: number, text: string) {
    super(text);
    this.reason = reason;
    this.status = status;
  }
}

const UPSTREAM_TIMEOUT_MS = 5_000;
/** Decompressed. */
const MAX_RESPONSE_BYTES = 32 * 1024 * 1024;
/** How long a relay that was told to stop does not ask: as long as registrations hold. */
export const STOP_MS = 600_000;
/** Of an error's text, for whoever reads the log. */
const MAX_DETAIL_LENGTH = 200;
/** What this relay says that it is: the generation of the protocol. */
const RELAY_VERSION = '26.1.0';

export function createSentryUpstream(options: SentryUpstreamOptions): SentryUpstream {
  const { url, identity, timeoutMs = UPSTREAM_TIMEOUT_MS, maxResponseBytes = MAX_RESPONSE_BYTES } = options;
  let registering: Promise<void> | undefined;
  let stoppedUntilMs = Number.NEGATIVE_INFINITY;

  async function send(path: string, body: object, signal: AbortSignal | undefined): Promise<unknown> {
    const bytes = Buffer.from(JSON.stringify(body));
    const late = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url + path, {
      method: 'POST',
      body: bytes,
      headers: {
        'content-type': 'application/json',
        'x-sentry-relay-id': identity.id,
        'x-sentry-relay-signature': identity.sign(bytes, Date.now()),
      },
      // A signed body is for this upstream and no other.
      redirect: 'error',
      signal: signal === undefined ? late : AbortSignal.any([late, signal]),
    });
    const json = parse(await readText(response, maxResponseBytes));
    if (response.status === 200 && json !== undefined) return json;
    const { detail, relay }: { detail?: unknown; relay?: unknown } =
      typeof json === 'object' && json !== null ? json : {};
    const isStopped = response.status === 403 && relay === 'stop';
    const reason = isStopped ? 'stopped' : response.status === 200 ? 'no_json' : 'status';
    const text = typeof detail === 'string' ? `: ${detail.slice(0, MAX_DETAIL_LENGTH)}` : '';
    throw new UpstreamError(reason, response.status, `the upstream answered ${response.status}${text}`);
  }

  /** Once, whoever asks, and not ended by any of them. */
  function register(): Promise<void> {
    registering ??= (async () => {
      const { id: relay_id, publicKey: public_key } = identity;
      const asked = { relay_id, public_key, version: RELAY_VERSION };
      const challenge = await send('/api/0/relays/register/challenge/', asked, undefined);
      const { token } = challenge as { token?: unknown };
      if (typeof token !== 'string') throw new UpstreamError('no_json', 200, 'the upstream gave no challenge');
      await send('/api/0/relays/register/response/', { relay_id, token, version: RELAY_VERSION }, undefined);
    })().finally(() => {
      registering = undefined;
    });
    return registering;
  }

  return {
    async post(path, body, signal) {
      if (performance.now() < stoppedUntilMs)
        throw new UpstreamError('stopped', 403, 'the upstream refused this relay for good');
      try {
        try {
          return await send(path, body, signal);
        } catch (error) {
          if (!isUnknownHere(error)) throw error;
          await register();
          return await send(path, body, signal);
        }
      } catch (error) {
        if (error instanceof UpstreamError && error.reason === 'stopped') stoppedUntilMs = performance.now() + STOP_MS;
        throw error;
      }
    },
  };
}

function isUnknownHere(error: unknown): boolean {
  return error instanceof UpstreamError && error.reason === 'status' && (error.status === 401 || error.status === 403);
}

async function readText(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  // Leaving the loop cancels the rest.
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > maxBytes) throw new UpstreamError('too_large', response.status, 'the upstream answered too much');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
