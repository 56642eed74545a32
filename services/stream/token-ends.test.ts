import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { BrokerUnavailableError } from '#lib/broker/broker.ts';
import { until } from '../../test/support/until.ts';
import { CUT_AFTER_MS, MAX_RENEWALS, TOKEN_ENDING_MS } from './token-holds.ts';
import { begins, everythingFound, NOW_MS, newClaims, newResponse, setUp } from './token-holds-testing.ts';

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
    await everythingFound();
    expect(line.finds).toBeLessThan(10);
    line.doubt();
    await everythingFound();
    expect(line.finds).toBeLessThan(20);
    await revokeToken(second);
    expect([one.sink.ends, other.sink.ends]).toEqual([0, 0]);
    clock.nowMs = first.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect([one.sink.ends, other.sink.ends]).toEqual([1, 1]);
  });

  test('is that of the last one that it takes, where two are presented for each other without end', async () => {
    const { holds, clock, line, renew } = setUp(true);
    const first = newClaims();
    const second = { ...first, tokenId: randomUUID() };
    const response = newResponse();
    await holds.hold(first, response, begins);
    for (let n = 0; n < MAX_RENEWALS; n += 1) {
      await (n % 2 === 0 ? renew(first, second, NOW_MS + n) : renew(second, first, NOW_MS + n));
    }
    await everythingFound();
    const { finds } = line;
    await renew(first, { ...second, expiresAtMs: first.expiresAtMs + 600_000 }, NOW_MS + MAX_RENEWALS);
    await everythingFound();
    expect(line.finds).toBe(finds);
    clock.nowMs = first.expiresAtMs + CUT_AFTER_MS;
    holds.onTurn();
    expect([response.told.at(-1), response.sink.ends]).toEqual(['token_ended', 1]);
  });

  test('is that of the first presented, where each of those who share a token has its own', async () => {
    const { holds, clock, renew } = setUp(true);
    const shared = newClaims();
    const [one, other] = [1, 2].map((n) => ({
      ...shared,
      tokenId: randomUUID(),
      expiresAtMs: shared.expiresAtMs + n * 600_000,
    }));
    const responses = [newResponse(), newResponse()];
    for (const response of responses) await holds.hold(shared, response, begins);
    await renew(shared, one as StreamClaims);
    await renew(shared, other as StreamClaims, NOW_MS + 1);
    clock.nowMs = shared.expiresAtMs + 600_000 + CUT_AFTER_MS;
    holds.onTurn();
    expect(responses.map(({ sink }) => sink.ends)).toEqual([1, 1]);
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
