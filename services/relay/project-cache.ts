import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';

/**
 * What this relay knows of the projects whose keys it is sent.
 *
 * 1. *peek never waits*, and asks for what isn't known or not fresh behind it. The first request for an unknown key finds
 *    it pending, and is taken.
 * 2. *One request in flight a key*, in batches of up to MAX_BATCH_KEYS, every `batchIntervalMs`. A failed batch is tried
 *    again: at once, after 1 s, then 1.5 times as long each, up to 60 s; any success begins anew.
 *    A key of which alone the source can't know now is asked for every 10 s at least.
 * 3. *Fresh* for EXPIRY_MS; *stale* for `graceMs` more: used as it is, and asked for behind it; then gone.
 * 4. *Watched*: over our RPC a change is known in under a second, and expiry is only the net below. After a reset all that
 *    is known is asked for again, a batch at a time, and used meanwhile.
 * 5. *Bounded* to `maxProjects`: what was used least recently goes first.
 */
export interface ProjectCache {
  /** `publicKey`: 32 lower-case hex digits. */
  peek(publicKey: string): ProjectState;

  /** As soon as it isn't pending any more; `pending` after `timeoutMs`. */
  get(publicKey: string, timeoutMs: number): Promise<ProjectState>;

  close(): void;
}

export type ProjectState =
  | { readonly kind: 'pending' }
  /** Unknown or disabled. */
  | { readonly kind: 'disabled' }
  | { readonly kind: 'enabled'; readonly config: ProjectConfig };

/** Where configs come from: our ConfigService, or a Sentry upstream. */
export interface ConfigSource {
  /** One answer for each key, in their order; `pending`: to be asked for again soon. Rejects where the source is away. */
  lookup(keys: readonly KnownRevision[], signal: AbortSignal): Promise<readonly ConfigAnswer[]>;
  /**
   * Calls `onChange` with keys whose config has changed, with none as a sign of life, and `onReset` when anything may have
   * changed. Undefined: this source can't say. Goes on for ever; returns what ends it.
   */
  watch?(onChange: (publicKeys: readonly string[]) => void, onReset: () => void): () => void;
  close(): void;
}

export interface KnownRevision {
  readonly publicKey: string;
  /** 0: none. */
  readonly revision: bigint;
}

export type ConfigAnswer =
  | ProjectState
  | { readonly kind: 'unchanged' }
  /** The source can't know now: as if the request had failed, for this key. */
  | { readonly kind: 'unavailable' };

export const MAX_BATCH_KEYS = 500;
export const MAX_CONCURRENT_BATCHES = 5;
export const EXPIRY_MS = 300_000;
