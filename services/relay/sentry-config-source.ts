import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ConfigAnswer, ConfigSource, KnownRevision } from './project-cache.ts';
import { readSentryProject } from './sentry-project-config.ts';
import { type SentryUpstream, UpstreamError } from './sentry-upstream.ts';

export interface SentryConfigSourceOptions {
  readonly upstream: SentryUpstream;
  /** Asks for quotas too, which upstreams tell only to relays that they trust. */
  readonly isFull?: boolean;
  /** How many keys' revisions are remembered; of others the whole config is asked for. */
  readonly maxProjects?: number;
}

const PATH = '/api/0/relays/projectconfigs/?version=3';
const DEFAULT_MAX_PROJECTS = 100_000;

/** A Sentry upstream, or another relay. It can't be watched: what changes is known when it expires. */
export function createSentryConfigSource(options: SentryConfigSourceOptions): ConfigSource {
  const { upstream, isFull = true, maxProjects = DEFAULT_MAX_PROJECTS } = options;
  // Sentry's are any text, ours a number. Those that are numbers already need no remembering.
  const revs = new LRUCache<string, string>({ max: maxProjects });

  function revOf({ publicKey, revision }: KnownRevision): string | null {
    if (revision === 0n) return null;
    const rev = revs.get(publicKey);
    if (rev !== undefined && revisionOf(rev) === revision) return rev;
    return isNumber(String(revision)) && rev === undefined ? String(revision) : null;
  }

  function answerOf(publicKey: string, state: unknown): ConfigAnswer {
    if (state === undefined || state === null) return { kind: 'disabled' };
    const project = readSentryProject(state, publicKey);
    // What can't be read now may be mended there.
    if (project === undefined) return { kind: 'pending' };
    if (project.kind === 'disabled') return project;
    const { config, rev } = project;
    config.revision = rev === undefined ? 0n : revisionOf(rev);
    if (rev === undefined || isNumber(rev)) revs.delete(publicKey);
    else revs.set(publicKey, rev);
    return { kind: 'enabled', config };
  }

  async function lookup(keys: readonly KnownRevision[], signal: AbortSignal): Promise<readonly ConfigAnswer[]> {
    const request = {
      publicKeys: keys.map(({ publicKey }) => publicKey),
      revisions: keys.map(revOf),
      fullConfig: isFull,
      noCache: false,
    };
    let json: unknown;
    try {
      json = await upstream.post(PATH, request, signal);
    } catch (error) {
      const isDivisible = error instanceof UpstreamError && error.reason === 'too_large' && keys.length > 1;
      if (!isDivisible) throw error;
      const half = keys.length >> 1;
      return [...(await lookup(keys.slice(0, half), signal)), ...(await lookup(keys.slice(half), signal))];
    }
    const { configs, pending, unchanged } = readResponse(json);
    return keys.map(({ publicKey }) => {
      if (pending.has(publicKey)) return { kind: 'pending' };
      if (unchanged.has(publicKey)) return { kind: 'unchanged' };
      return answerOf(publicKey, configs.get(publicKey));
    });
  }

  return { lookup, close() {} };
}

interface ProjectConfigsResponse {
  readonly configs: ReadonlyMap<string, unknown>;
  readonly pending: ReadonlySet<unknown>;
  readonly unchanged: ReadonlySet<unknown>;
}

function readResponse(json: unknown): ProjectConfigsResponse {
  const { configs, pending, unchanged }: Record<string, unknown> =
    typeof json === 'object' && json !== null ? { ...json } : {};
  // A key that is not in it is a project that is off: so much must not follow from an answer of something else.
  if (typeof configs !== 'object' || configs === null) {
    throw new UpstreamError('no_json', 200, 'the upstream answered no configs');
  }
  return {
    configs: new Map(Object.entries(configs)),
    pending: new Set(Array.isArray(pending) ? pending : []),
    unchanged: new Set(Array.isArray(unchanged) ? unchanged : []),
  };
}

const MAX_UINT64 = (1n << 64n) - 1n;

/** 1 to 2^64 - 1, as it is written. */
function isNumber(rev: string): boolean {
  return /^[1-9][0-9]{0,19}$/.test(rev) && BigInt(rev) <= MAX_UINT64;
}

/** The same text has the same number, never 0. */
function revisionOf(rev: string): bigint {
  if (isNumber(rev)) return BigInt(rev);
  return createHash('sha256').update(rev).digest().readBigUInt64BE() || 1n;
}
