import { create } from '@bufbuild/protobuf';
import { onTestFinished, vi } from 'vitest';
import { type ProjectConfig, ProjectConfigSchema } from '#gen/tideway/config/v1/config_service_pb.ts';
import { createProjectCache, type ProjectCacheOptions } from './create-project-cache.ts';
import type { ConfigAnswer, ConfigSource, KnownRevision, ProjectCache } from './project-cache.ts';

/** A source for tests of the cache: what it knows, how it answers and when is up to the test. */
export class TestSource implements ConfigSource {
  /** Keys that aren't here are unknown. */
  readonly projects = new Map<string, ProjectConfig>();
  /** In the order of the requests. */
  readonly calls: { readonly atMs: number; readonly keys: readonly KnownRevision[] }[] = [];
  mode: 'answers' | 'away' | 'pending' | 'unavailable' | 'hangs' = 'answers';
  latencyMs = 0;
  running = 0;
  mostRunning = 0;
  inFlight = new Set<string>();
  problems: string[] = [];
  isClosed = false;
  onChange: (publicKeys: readonly string[]) => void = () => {};
  onReset: () => void = () => {};

  async lookup(keys: readonly KnownRevision[], signal: AbortSignal): Promise<readonly ConfigAnswer[]> {
    this.calls.push({ atMs: performance.now(), keys });
    for (const { publicKey } of keys) {
      if (this.inFlight.has(publicKey)) this.problems.push(`${publicKey} was asked for twice at once`);
      this.inFlight.add(publicKey);
    }
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    // What it says is of when it was asked, as from a slow network.
    const answers = keys.map((key) => this.#answer(key));
    const { mode } = this;
    try {
      if (mode === 'hangs')
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      if (this.latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, this.latencyMs));
      if (mode === 'away') throw new Error('away');
      return answers;
    } finally {
      this.running -= 1;
      for (const { publicKey } of keys) this.inFlight.delete(publicKey);
    }
  }

  watch(onChange: (publicKeys: readonly string[]) => void, onReset: () => void): () => void {
    this.onChange = onChange;
    this.onReset = onReset;
    return () => {
      this.onChange = () => {};
    };
  }

  close(): void {
    this.isClosed = true;
  }

  enable(publicKey: string, revision = 1n): ProjectConfig {
    const config = configOf(revision);
    this.projects.set(publicKey, config);
    return config;
  }

  #answer({ publicKey, revision }: KnownRevision): ConfigAnswer {
    if (this.mode === 'pending' || this.mode === 'unavailable') return { kind: this.mode };
    const config = this.projects.get(publicKey);
    if (config === undefined) return { kind: 'disabled' };
    return config.revision === revision ? { kind: 'unchanged' } : { kind: 'enabled', config };
  }
}

export function configOf(revision: bigint): ProjectConfig {
  return create(ProjectConfigSchema, { projectId: 1n, organizationId: 2n, keyId: 3n, revision, allowedDomains: ['*'] });
}

export function keyOf(n: number): string {
  return n.toString(16).padStart(32, '0');
}

export interface CacheUnderTest {
  readonly cache: ProjectCache;
  readonly source: TestSource;
  readonly errors: unknown[];
}

/** With a clock that the test moves. Without grace period and the like of its own it has the real ones. */
export function startCache(options: Partial<ProjectCacheOptions> = {}): CacheUnderTest {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const source = new TestSource();
  const errors: unknown[] = [];
  const cache = createProjectCache({
    source,
    batchIntervalMs: 5,
    onError: (error) => errors.push(error),
    now: () => performance.now(),
    ...options,
  });
  onTestFinished(() => {
    cache.close();
    vi.useRealTimers();
  });
  return { cache, source, errors };
}

export function advance(ms: number): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(ms);
}
