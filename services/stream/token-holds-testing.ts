import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { BrokerUnavailableError, channelKey } from '#lib/broker/broker.ts';
import { type DecisionKind, type Decisions, tokenKey } from '#lib/broker/decisions.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { channelsOf, renewalDetail } from './token-decisions.ts';
import { TokenHolds } from './token-holds.ts';

export const ORG = 7n;
export const NOW_MS = 1_800_000_000_000;
export const TTL_MS = 60_000;

/** Real decisions behind a line that can be cut: then nothing is told, and nothing found. */
export function setUp(cutExpired = false) {
  const broker = createMemoryBroker();
  const line = { stands: true, finds: 0, subjects: 0, doubt: () => {}, beforeFind: async () => {} };
  const decisions: Decisions = {
    count: (token, limit, ttlMs) => broker.decisions.count(token, limit, ttlMs),
    make: (decision, ttlMs) => broker.decisions.make(decision, ttlMs),
    find: async (subjects) => {
      await line.beforeFind();
      line.finds += 1;
      line.subjects += subjects.length;
      if (!line.stands) throw new BrokerUnavailableError('cut');
      return broker.decisions.find(subjects);
    },
    watch: (watcher) => {
      line.doubt = () => watcher.onDoubt();
      return broker.decisions.watch({ ...watcher, onDecision: (one) => line.stands && watcher.onDecision(one) });
    },
  };
  const clock = { nowMs: NOW_MS };
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  const holds = new TokenHolds({ decisions, cutExpired, onError, now: () => clock.nowMs });
  onTestFinished(async () => {
    holds.close();
    await broker.close();
  });
  const make = (kind: DecisionKind, about: string, detail = '', atMs = NOW_MS) =>
    broker.decisions.make({ kind, about: about as never, atMs, detail }, TTL_MS);
  return {
    holds,
    line,
    clock,
    errors,
    make,
    revokeToken: ({ tokenId = '' }: StreamClaims) => make('token_revoked', tokenKey(ORG, tokenId)),
    revokeChannel: ({ channelId = '' }: StreamClaims, atMs = NOW_MS) =>
      make('channel_revoked', channelKey(ORG, channelId), '', atMs),
    renew: (from: StreamClaims, to: StreamClaims, atMs = NOW_MS) => {
      const { issuedAtMs, expiresAtMs } = to;
      const token = tokenKey(ORG, to.tokenId ?? '');
      const detail = renewalDetail({ channels: new Set(channelsOf(to)), token, issuedAtMs, expiresAtMs });
      return make('token_renewed', tokenKey(ORG, from.tokenId ?? ''), detail, atMs);
    },
  };
}

export function newClaims(more: Partial<StreamClaims> = {}): StreamClaims {
  return {
    orgId: ORG,
    channelId: randomUUID(),
    tokenId: randomUUID(),
    issuedAtMs: NOW_MS - 10_000,
    expiresAtMs: NOW_MS + 600_000,
    ...more,
  };
}

/** A response as faces have it: a sink that ends, and a listener that hears that it is gone. */
export function newResponse() {
  const told: string[] = [];
  const sink = {
    ends: 0,
    gone: 0,
    isGone: false,
    onGone: () => {
      sink.gone += 1;
    },
    end: () => {
      sink.ends += 1;
      sink.isGone = true;
    },
  };
  return { told, sink, tell: ({ type }: { type: string }) => void told.push(type) };
}

export const begins = async () => 'following' as const;

/** What is looked up in memory waits for nothing but promises: after a turn of the event loop all of it is found. */
export async function everythingFound(): Promise<void> {
  await nextTurn();
}
