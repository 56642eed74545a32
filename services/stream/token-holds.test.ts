import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { BrokerUnavailableError, channelKey } from '#lib/broker/broker.ts';
import { type DecisionKind, type Decisions, tokenKey } from '#lib/broker/decisions.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { until } from '../../test/support/until.ts';
import { channelsOf, renewalDetail } from './token-decisions.ts';
import { CUT_AFTER_MS, TOKEN_ENDING_MS, TokenHolds } from './token-holds.ts';

const ORG = 7n;
const NOW_MS = 1_800_000_000_000;
const TTL_MS = 60_000;

const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

/** Real decisions behind a line that can be cut: then nothing is told, and nothing found. */
function setUp(cutExpired = false) {
  const broker = createMemoryBroker();
  const line = { stands: true, finds: 0, doubt: () => {}, beforeFind: async () => {} };
  const decisions: Decisions = {
    make: (decision, ttlMs) => broker.decisions.make(decision, ttlMs),
    find: async (subjects) => {
      await line.beforeFind();
      line.finds += 1;
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
  opened.push(holds, broker);
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
      const detail = renewalDetail({ channels: channelsOf(to), token, issuedAtMs, expiresAtMs });
      return make('token_renewed', tokenKey(ORG, from.tokenId ?? ''), detail, atMs);
    },
  };
}

function newClaims(more: Partial<StreamClaims> = {}): StreamClaims {
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
function newResponse() {
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

const begins = async () => 'following' as const;

describe('a revoked token', () => {
  test('ends what it keeps open, and nothing else', async () => {
    const { holds, revokeToken } = setUp();
    const claims = newClaims();
    const [one, two, other] = [newResponse(), newResponse(), newResponse()];
    await holds.hold(claims, one, begins);
    await holds.hold(claims, two, begins);
    await holds.hold(newClaims({ channelId: claims.channelId ?? '' }), other, begins);
    await revokeToken(claims);
    for (const { told, sink } of [one, two]) expect([told, sink.ends, sink.gone]).toEqual([['token_revoked'], 1, 1]);
    expect([other.told, other.sink.ends]).toEqual([[], 0]);
    expect(holds.size).toBe(1);
    // Told once more, as may happen.
    await revokeToken(claims);
    expect(one.sink.ends).toBe(1);
  });

  test('begins nothing any more', async () => {
    const { holds, revokeToken } = setUp();
    const claims = newClaims();
    await revokeToken(claims);
    const response = newResponse();
    let begun = false;
    const begin = async () => {
      begun = true;
      return 'following' as const;
    };
    await expect(holds.hold(claims, response, begin)).rejects.toThrow('Token revoked');
    await expect(holds.check(claims)).rejects.toThrow('Token revoked');
    await holds.check(newClaims());
    expect([begun, holds.size]).toEqual([false, 0]);
  });

  // As a thief's, while its owner goes on with the one that followed it.
  test.for(['token', 'channel'] as const)(
    'begins nothing either while another is presented for it: by %s',
    async (by) => {
      const { holds, line, renew, revokeToken, revokeChannel } = setUp(true);
      const stolen = newClaims();
      const own = { ...stolen, tokenId: randomUUID(), issuedAtMs: NOW_MS + 1000 };
      await (by === 'token' ? revokeToken(stolen) : revokeChannel(stolen));
      line.beforeFind = async () => {
        line.beforeFind = async () => {};
        await renew(stolen, own);
      };
      await expect(holds.hold(stolen, newResponse(), begins)).rejects.toThrow('Token revoked');
      expect(holds.size).toBe(0);
      await expect(holds.hold(own, newResponse(), begins)).resolves.toBe('following');
    },
  );

  test('ends what began while it was revoked', async () => {
    const { holds, revokeToken } = setUp();
    const claims = newClaims();
    const response = newResponse();
    await holds.hold(claims, response, async () => {
      await revokeToken(claims);
      expect(response.sink.ends).toBe(0);
      return 'following';
    });
    expect([response.told, response.sink.ends, holds.size]).toEqual([['token_revoked'], 1, 0]);
    const looked = newResponse();
    const late = newClaims();
    const { holds: others, line, revokeToken: revokeOther } = setUp();
    line.beforeFind = async () => {
      line.beforeFind = async () => {};
      await revokeOther(late);
    };
    await expect(others.hold(late, looked, begins)).rejects.toThrow('Token revoked');
    // The refusal is the response.
    expect([looked.told, looked.sink.ends]).toEqual([[], 0]);
  });

  test('is found when the line stands again', async () => {
    const { holds, line, revokeToken, errors } = setUp();
    const claims = newClaims();
    const response = newResponse();
    await holds.hold(claims, response, begins);
    line.stands = false;
    await revokeToken(claims);
    await expect(holds.hold(newClaims(), newResponse(), begins)).rejects.toThrow('Broker away');
    line.doubt();
    line.stands = true;
    line.doubt();
    await until('it is ended', () => response.sink.ends === 1);
    expect(errors).toEqual([]);
  });
});

describe('a revoked channel', () => {
  test.for([
    ['issued before', NOW_MS - 1000, 1],
    ['issued in the same second', NOW_MS, 1],
    ['that does not say when it was issued', undefined, 1],
    ['issued after', NOW_MS + 1000, 0],
  ] as const)('ends those with a token %s: %d', async ([, issuedAtMs, ends]) => {
    const { holds, revokeChannel } = setUp();
    const { issuedAtMs: _, ...claims } = newClaims();
    const own = issuedAtMs === undefined ? claims : { ...claims, issuedAtMs };
    const response = newResponse();
    await holds.hold(own, response, begins);
    await revokeChannel(own, NOW_MS + 500);
    expect(response.sink.ends).toBe(ends);
    const again = holds.hold(own, newResponse(), begins);
    await (ends === 1 ? expect(again).rejects.toThrow('Token revoked') : expect(again).resolves.toBe('following'));
  });

  test('takes a token of several channels with it, and none of another organization', async () => {
    const { holds, revokeChannel, make } = setUp();
    const one = newClaims();
    const { channelId = '' } = one;
    const { channelId: _, ...rest } = newClaims();
    const [several, foreign] = [newResponse(), newResponse()];
    await holds.hold({ ...rest, channelIds: [randomUUID(), channelId] }, several, begins);
    await holds.hold(newClaims({ orgId: 8n, channelId }), foreign, begins);
    await revokeChannel(one);
    expect([several.sink.ends, foreign.sink.ends]).toEqual([1, 0]);
    await make('cancelled', channelKey(8n, channelId));
    expect(foreign.sink.ends).toBe(0);
  });
});

describe('the end of a token', () => {
  test('is nothing to its streams, unless they are to end with it', async () => {
    const { holds, clock } = setUp(false);
    const response = newResponse();
    await holds.hold(newClaims(), response, begins);
    clock.nowMs += 10 * 600_000;
    expect([response.told, response.sink.ends]).toEqual([[], 0]);
  });

  test('is announced once, and comes a little later', async () => {
    const { holds, clock } = setUp(true);
    const response = newResponse();
    const { expiresAtMs } = newClaims();
    await holds.hold(newClaims(), response, begins);
    const at = (nowMs: number) => {
      clock.nowMs = nowMs;
      holds.onTurn();
      return [response.told.length, response.sink.ends];
    };
    expect(at(expiresAtMs - TOKEN_ENDING_MS - 1)).toEqual([0, 0]);
    expect(at(expiresAtMs - TOKEN_ENDING_MS)).toEqual([1, 0]);
    expect(at(expiresAtMs + CUT_AFTER_MS - 1)).toEqual([1, 0]);
    expect(at(expiresAtMs + CUT_AFTER_MS)).toEqual([2, 1]);
    expect(at(expiresAtMs + 10 * CUT_AFTER_MS)).toEqual([2, 1]);
    expect(response.told).toEqual(['token_ending', 'token_ended']);
    expect(holds.size).toBe(0);
  });

  test('is put off by a new token, and by the one after that', async () => {
    const { holds, clock, renew, revokeToken } = setUp(true);
    const first = newClaims();
    const second = newClaims({ channelId: first.channelId ?? '', expiresAtMs: first.expiresAtMs + 600_000 });
    const third = { ...second, tokenId: randomUUID(), expiresAtMs: second.expiresAtMs + 600_000 };
    const response = newResponse();
    await holds.hold(first, response, begins);
    clock.nowMs = first.expiresAtMs;
    holds.onTurn();
    await renew(first, second);
    clock.nowMs = second.expiresAtMs;
    holds.onTurn();
    await renew(second, third);
    clock.nowMs = second.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect([response.told, response.sink.ends]).toEqual([['token_ending', 'token_ending'], 0]);
    // It is the newest one's by now.
    await revokeToken(first);
    await revokeToken(second);
    expect(response.sink.ends).toBe(0);
    await revokeToken(third);
    expect(response.sink.ends).toBe(1);
  });

  test('is that of the newest token for what begins again with an older one', async () => {
    const { holds, clock, line, renew } = setUp(true);
    const first = newClaims();
    const second = newClaims({ channelId: first.channelId ?? '', expiresAtMs: first.expiresAtMs + 600_000 });
    const third = { ...second, tokenId: randomUUID(), expiresAtMs: second.expiresAtMs + 600_000 };
    await renew(first, second);
    await renew(second, third);
    const response = newResponse();
    await holds.hold(first, response, begins);
    // One step at once, the next by itself; after the third there is nothing more.
    await until('it has the newest', () => line.finds === 3);
    clock.nowMs = second.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect(response.sink.ends).toBe(0);
    clock.nowMs = third.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect(response.sink.ends).toBe(1);
  });

  test('is that of the last one presented, also where two were presented for each other', async () => {
    const { holds, clock, line, renew, revokeToken } = setUp(true);
    const first = newClaims();
    const second = { ...first, tokenId: randomUUID(), expiresAtMs: first.expiresAtMs + 600_000 };
    // More than there is to find: else it would be looked for without end, and without a turn for anything else.
    line.beforeFind = async () => {
      if (line.finds > 50) throw new BrokerUnavailableError('enough');
    };
    await renew(first, second, NOW_MS);
    await renew(second, first, NOW_MS + 1);
    const [one, other] = [newResponse(), newResponse()];
    await holds.hold(first, one, begins);
    await holds.hold(second, other, begins);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(line.finds).toBeLessThan(10);
    line.doubt();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(line.finds).toBeLessThan(20);
    await revokeToken(second);
    expect([one.sink.ends, other.sink.ends]).toEqual([0, 0]);
    clock.nowMs = first.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect([one.sink.ends, other.sink.ends]).toEqual([1, 1]);
  });

  test('of one who went while its newer token was looked for leaves nothing behind', async () => {
    const { holds, line, renew, clock } = setUp(true);
    const first = newClaims();
    const second = { ...first, tokenId: randomUUID(), expiresAtMs: first.expiresAtMs + 600_000 };
    const response = newResponse();
    await holds.hold(first, response, begins);
    line.stands = false;
    await renew(first, second);
    line.stands = true;
    line.beforeFind = async () => response.sink.onGone();
    const before = line.finds;
    line.doubt();
    await until('it is looked for', () => line.finds > before);
    await new Promise(setImmediate);
    expect(holds.size).toBe(0);
    clock.nowMs = second.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect([response.told, response.sink.ends, response.sink.gone]).toEqual([[], 0, 1]);
  });

  test('of several channels is put off by a token for all of them, and not for some', async () => {
    const { holds, clock, renew } = setUp(true);
    const { channelId: one = '', ...rest } = newClaims();
    const channelIds = [one, randomUUID()];
    const responses = [];
    for (const renewed of [[one], [...channelIds, randomUUID()]]) {
      const first = { ...rest, tokenId: randomUUID(), channelIds };
      const response = newResponse();
      responses.push(response);
      await holds.hold(first, response, begins);
      await renew(first, { ...rest, tokenId: randomUUID(), channelIds: renewed, expiresAtMs: 2 * NOW_MS });
    }
    clock.nowMs = rest.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect(responses.map(({ sink }) => sink.ends)).toEqual([1, 0]);
  });

  test('is not put off by a token for another channel, nor by one that is revoked', async () => {
    const { holds, renew, revokeToken, clock } = setUp(true);
    const first = newClaims();
    const response = newResponse();
    await holds.hold(first, response, begins);
    await renew(first, newClaims({ expiresAtMs: first.expiresAtMs * 2 }));
    clock.nowMs = first.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect(response.sink.ends).toBe(1);
    // Revoked after it was checked, and before it was presented.
    const other = newClaims();
    const revoked = newClaims({ channelId: other.channelId ?? '', expiresAtMs: other.expiresAtMs * 2 });
    const ended = newResponse();
    clock.nowMs = NOW_MS;
    await holds.hold(other, ended, begins);
    await revokeToken(revoked);
    await renew(other, revoked);
    await until('it is ended', () => ended.sink.ends === 1);
    expect(ended.told).toEqual(['token_revoked']);
  });
});

test('nothing is left of responses that are over, refused or at their end', async () => {
  const { holds, revokeChannel } = setUp(true);
  const claims = newClaims();
  const response = newResponse();
  await holds.hold(claims, response, begins);
  expect(await holds.hold(claims, newResponse(), async () => 'at_end')).toBe('at_end');
  await expect(holds.hold(claims, newResponse(), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  const left = newResponse();
  left.sink.isGone = true;
  await holds.hold(claims, left, begins);
  expect(holds.size).toBe(1);
  response.sink.onGone();
  expect([holds.size, response.sink.gone]).toEqual([0, 1]);
  await revokeChannel(claims);
  expect([response.told, left.told]).toEqual([[], []]);
});
