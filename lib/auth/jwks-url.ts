import { createRemoteJWKSet, customFetch, type FetchImplementation } from 'jose';
import { type CheckedJwks, checkJwks, MAX_JWKS_BYTES } from './jwks.ts';
import { ASYMMETRIC_ALGORITHMS, KeySettingError } from './key-pem.ts';
import { type KeySource, KeysUnavailableError, MAX_ROTATION_DELAY_MS, steadyMs } from './key-source.ts';

/** When a key set is fetched; there is no timer, tokens are the occasion. */
export interface JwksUrlTimings {
  /** Of one fetch, from the request to the last byte. */
  readonly timeoutMs: number;
  /** Keys older than this are fetched again beside the work … */
  readonly refreshAfterMs: number;
  /** … and older than this, before a token is verified. */
  readonly awaitAfterMs: number;
  /** Between two fetches, if a token names an unknown key or the last fetch failed: what bad tokens can cause. */
  readonly cooldownMs: number;
  /** How long the last keys are good while the URL does not answer. */
  readonly staleMs: number;
}

export const DEFAULT_JWKS_URL_TIMINGS: JwksUrlTimings = {
  timeoutMs: 5000,
  refreshAfterMs: 15_000,
  awaitAfterMs: MAX_ROTATION_DELAY_MS,
  cooldownMs: 5000,
  staleMs: 10 * 60_000,
};

export interface JwksUrlOptions {
  /** The setting that holds the URL, for errors. */
  readonly name: string;
  readonly url: string;
  readonly timings?: Partial<JwksUrlTimings>;
  /** Hears why a fetch failed. */
  readonly onProblem?: (error: Error) => void;
  readonly now?: () => number;
}

/**
 * A JSON Web Key Set at an http or https URL. It is fetched with the first token, so that a process starts while the
 * issuer is away; such tokens get a {@link KeysUnavailableError}.
 * @throws KeySettingError if it is no such URL
 */
export function keysFromJwksUrl(options: JwksUrlOptions): KeySource {
  const { name, onProblem, now = steadyMs } = options;
  const timings = { ...DEFAULT_JWKS_URL_TIMINGS, ...options.timings };
  // jose fetches, this decides when: its own cool-down counts from the last success only, so a URL that is away would be
  // asked once for every bad token.
  const remote = createRemoteJWKSet(parseUrl(name, options.url), {
    timeoutDuration: timings.timeoutMs,
    cooldownDuration: Number.POSITIVE_INFINITY,
    cacheMaxAge: Number.POSITIVE_INFINITY,
    [customFetch]: fetchBounded,
  });
  let jwks: CheckedJwks | undefined;
  let generation = 0;
  let fetchedAtMs = Number.NEGATIVE_INFINITY;
  let triedAtMs = Number.NEGATIVE_INFINITY;
  let isAway = false;
  let fetching: Promise<void> | undefined;

  /** Joins the fetch that is under way, starts one, or does nothing while it is too early. Never throws. */
  function refresh(): Promise<void> {
    if (fetching === undefined && now() - triedAtMs >= timings.cooldownMs) {
      fetching = fetchKeys().finally(() => {
        triedAtMs = now();
        fetching = undefined;
      });
    }
    return fetching ?? Promise.resolve();
  }

  async function fetchKeys(): Promise<void> {
    try {
      await remote.reload();
      const fetched = await checkJwks(name, remote.jwks());
      fetchedAtMs = now();
      isAway = false;
      if (fetched.text !== jwks?.text) {
        jwks = fetched;
        generation++;
      }
    } catch (error) {
      isAway = true;
      // Neither the cause nor the URL goes into the message: a URL may carry a password.
      onProblem?.(error instanceof KeySettingError ? error : new KeysUnavailableError(name));
    }
  }

  return {
    algorithms: ASYMMETRIC_ALGORITHMS,
    get generation() {
      return generation;
    },
    async candidates(header) {
      const ageMs = now() - fetchedAtMs;
      if (ageMs >= timings.refreshAfterMs) {
        const refreshed = refresh();
        // While the URL hangs, tokens are verified with the last keys at once and not after its timeout.
        if (ageMs >= (isAway ? timings.staleMs : timings.awaitAfterMs)) await refreshed;
      }
      if (jwks === undefined || now() - fetchedAtMs >= timings.staleMs) throw new KeysUnavailableError(name);

      const found = await jwks.candidates(header);
      if (found.length > 0) return found;
      await refresh();
      return jwks.candidates(header);
    },
  };
}

function parseUrl(setting: string, text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new KeySettingError(setting, 'is not an http or https URL');
  }
  return url;
}

/** The answer's size is checked while it arrives, not after. */
const fetchBounded: FetchImplementation = async (url, options) => {
  const response = await fetch(url, options);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_JWKS_BYTES) throw new Error(`a key set of more than ${MAX_JWKS_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new Response(new Blob(chunks), { status: response.status === 200 ? 200 : 502 });
};
