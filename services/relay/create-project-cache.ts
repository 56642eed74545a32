import { LRUCache } from 'lru-cache';
import { LookupQueue, type Settled } from './lookup-queue.ts';
import { SharedSettings } from './lookup-sharing.ts';
import { type ConfigSource, EXPIRY_MS, MAX_BATCH_KEYS, type ProjectCache, type ProjectState } from './project-cache.ts';

export interface ProjectCacheOptions {
  /** Closed with the cache. */
  readonly source: ConfigSource;
  readonly batchIntervalMs: number;
  readonly graceMs?: number;
  readonly maxProjects?: number;
  readonly queryTimeoutMs?: number;
  /** Hears why requests fail. */
  readonly onError: (error: unknown) => void;
  /** In ms, from any time on, never backwards. */
  readonly now?: () => number;
}

export const DEFAULT_GRACE_MS = 120_000;
export const DEFAULT_MAX_PROJECTS = 100_000;
export const QUERY_TIMEOUT_MS = 30_000;

/** After a reset: how often a batch of what is known is asked for again, behind what is in use. */
const REFRESH_INTERVAL_MS = 100;

const PENDING: ProjectState = Object.freeze({ kind: 'pending' });
const DISABLED: ProjectState = Object.freeze({ kind: 'disabled' });

export function createProjectCache(options: ProjectCacheOptions): ProjectCache {
  return new SourcedProjectCache(options);
}

interface Entry {
  state: ProjectState;
  freshUntilMs: number;
}

class SourcedProjectCache implements ProjectCache {
  readonly #source: ConfigSource;
  readonly #graceMs: number;
  readonly #now: () => number;
  readonly #entries: LRUCache<string, Entry>;
  readonly #queue: LookupQueue;
  readonly #shared = new SharedSettings();
  readonly #stopWatch: (() => void) | undefined;
  #resetAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: NodeJS.Timeout | undefined;

  constructor(options: ProjectCacheOptions) {
    const { source, batchIntervalMs, onError, now = () => performance.now() } = options;
    const maxProjects = options.maxProjects ?? DEFAULT_MAX_PROJECTS;
    this.#source = source;
    this.#graceMs = options.graceMs ?? DEFAULT_GRACE_MS;
    this.#now = now;
    this.#entries = new LRUCache({ max: maxProjects });
    this.#queue = new LookupQueue({
      source,
      batchIntervalMs,
      queryTimeoutMs: options.queryTimeoutMs ?? QUERY_TIMEOUT_MS,
      maxKeys: maxProjects,
      revisionOf: (publicKey) => revisionOf(this.#entries.peek(publicKey)),
      onAnswer: (publicKey, answer, sentAtMs, isOutdated) =>
        this.#answered(publicKey, answer, isOutdated ? this.#now() : sentAtMs + EXPIRY_MS),
      onError,
      now,
    });
    this.#stopWatch = source.watch?.(
      (publicKeys) => this.#changed(publicKeys),
      () => this.#reset(),
    );
  }

  peek(publicKey: string): ProjectState {
    const entry = this.#entries.get(publicKey);
    if (entry === undefined) {
      this.#queue.want(publicKey);
      return PENDING;
    }
    const nowMs = this.#now();
    if (nowMs < entry.freshUntilMs && entry.freshUntilMs - EXPIRY_MS >= this.#resetAtMs) return entry.state;
    this.#queue.want(publicKey);
    if (nowMs < entry.freshUntilMs + this.#graceMs) return entry.state;
    this.#entries.delete(publicKey);
    return PENDING;
  }

  async get(publicKey: string, timeoutMs: number): Promise<ProjectState> {
    const untilMs = this.#now() + timeoutMs;
    for (;;) {
      const state = this.peek(publicKey);
      const leftMs = untilMs - this.#now();
      if (state.kind !== 'pending' || leftMs <= 0) return state;
      if (await this.#queue.wait(publicKey, leftMs)) return this.peek(publicKey);
    }
  }

  close(): void {
    this.#stopWatch?.();
    clearTimeout(this.#refreshing);
    this.#queue.close();
    this.#source.close();
  }

  /** Fresh counts from the question: what changed after it may not be in the answer. */
  #answered(publicKey: string, answer: Settled, freshUntilMs: number): boolean {
    const known = this.#entries.peek(publicKey);
    if (answer.kind === 'unchanged') {
      // It may have been pushed out since it was asked about.
      if (known?.state.kind !== 'enabled') return false;
      known.freshUntilMs = freshUntilMs;
      return true;
    }
    const state = answer.kind === 'disabled' ? DISABLED : answer;
    if (state.kind === 'enabled') this.#shared.share(state.config);
    if (known === undefined) this.#entries.set(publicKey, { state, freshUntilMs });
    else {
      known.state = state;
      known.freshUntilMs = freshUntilMs;
    }
    return true;
  }

  #changed(publicKeys: readonly string[]): void {
    const nowMs = this.#now();
    this.#queue.wake();
    for (const publicKey of publicKeys) {
      this.#queue.outdate(publicKey);
      const entry = this.#entries.peek(publicKey);
      if (entry === undefined) continue;
      entry.freshUntilMs = Math.min(entry.freshUntilMs, nowMs);
      this.#queue.want(publicKey);
    }
  }

  #reset(): void {
    this.#resetAtMs = this.#now();
    this.#queue.wake();
    this.#queue.outdateAll();
    clearTimeout(this.#refreshing);
    this.#refresh([...this.#entries.keys()], 0);
  }

  /** What is used is asked for by being used; this is for the rest. */
  #refresh(publicKeys: readonly string[], from: number): void {
    let at = from;
    for (const nowMs = this.#now(); at < publicKeys.length && this.#queue.waiting < MAX_BATCH_KEYS; at += 1) {
      const publicKey = publicKeys[at] ?? '';
      const entry = this.#entries.peek(publicKey);
      if (entry === undefined || entry.freshUntilMs - EXPIRY_MS >= this.#resetAtMs) continue;
      if (nowMs < entry.freshUntilMs + this.#graceMs) this.#queue.want(publicKey);
      else this.#entries.delete(publicKey);
    }
    if (at >= publicKeys.length) return;
    this.#refreshing = setTimeout(() => this.#refresh(publicKeys, at), REFRESH_INTERVAL_MS);
    this.#refreshing.unref();
  }
}

function revisionOf(entry: Entry | undefined): bigint {
  return entry?.state.kind === 'enabled' ? entry.state.config.revision : 0n;
}
