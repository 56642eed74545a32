import { randomUUID } from 'node:crypto';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { channelKey } from '#lib/broker/broker.ts';
import { until } from '../../test/support/until.ts';
import { channelsOf } from './token-decisions.ts';
import { begins, NOW_MS, newClaims, newResponse, setUp } from './token-holds-testing.ts';

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

test('what many responses with one token have to do with is asked, and read, once for all of them', async () => {
  const { holds, line, renew } = setUp(true);
  const channelIds = [randomUUID(), randomUUID()];
  const first = newClaims({ channelIds });
  const second = { ...first, tokenId: randomUUID() };
  const third = { ...first, tokenId: randomUUID() };
  for (let n = 0; n < 100; n += 1) await holds.hold(first, newResponse(), begins);
  line.subjects = 0;
  const parse = vi.spyOn(JSON, 'parse');
  onTestFinished(() => parse.mockRestore());
  await renew(first, second);
  expect(parse).toHaveBeenCalledTimes(1);
  // Three channels, and two of the token.
  await until('they have been looked up', () => line.subjects > 0);
  expect(line.subjects).toBe(5);
  // Found, and not told.
  line.stands = false;
  await renew(second, third);
  line.stands = true;
  line.subjects = 0;
  line.doubt();
  // The second's, and the third's then.
  await until('they have been looked up', () => line.subjects >= 10);
  expect(line.subjects).toBe(10);
  expect(parse).toHaveBeenCalledTimes(2);
});

test('the channels of a token are kept once, however many responses it has', () => {
  const several = newClaims({ channelIds: [randomUUID(), randomUUID()] });
  expect(channelsOf(several)).toHaveLength(3);
  expect(channelsOf(several)).toBe(channelsOf(several));
  expect(channelsOf(newClaims({ channelIds: [randomUUID()] }))).toHaveLength(2);
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
