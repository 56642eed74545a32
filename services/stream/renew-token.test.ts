import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { afterEach, expect, test } from 'vitest';
import { RenewTokenRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { tokenKey } from '#lib/broker/decisions.ts';
import { watched } from '#lib/broker/decisions-contract.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { Gate } from '#lib/server/gate.ts';
import { MAX_PRESENTED, Presentations, renewToken } from './renew-token.ts';
import { TokenHolds } from './token-holds.ts';

const ORG = 7n;

const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

function setUp() {
  const broker = createMemoryBroker();
  const { decisions } = broker;
  const holds = new TokenHolds({ decisions, cutExpired: true, onError: () => {} });
  opened.push(holds, broker);
  const presentations = new Presentations(decisions);
  const gate = new Gate({ starters: 'anybody' });
  const channelId = randomUUID();
  const expiresAtMs = Date.now() + 600_000;
  /** Presents the one token for the other. */
  const renew = (previousTokenId: string, tokenId: string) =>
    renewToken(
      create(RenewTokenRequestSchema, { orgId: ORG, channelId, previousTokenId }),
      { orgId: ORG, channelId, tokenId, expiresAtMs },
      { gate, presentations, holds },
    );
  return { renew, watch: (id: string) => watched(decisions, tokenKey(ORG, id)) };
}

test('a token is presented for so many others, and is refused for more', async () => {
  const { renew } = setUp();
  for (let n = 0; n < MAX_PRESENTED; n += 1) await renew(`${n}`, 'new');
  const more = renew('more', 'new');
  await expect(more).rejects.toMatchObject({ reason: 'rate_limited', retryAfterMs: expect.any(Number) });
  // What it was presented for stands, and others are not concerned.
  await renew('0', 'new');
  await renew('more', 'another');
});

test('presented again, it is refused to nobody and told to nobody', async () => {
  const { renew, watch } = setUp();
  const { told } = watch('old');
  // As by all listeners to whom one token was given.
  for (let n = 0; n < 2 * MAX_PRESENTED; n += 1) await renew('old', 'new');
  expect(told).toHaveLength(1);
});

test('nor is it where all of them present it in the same moment', async () => {
  const { renew, watch } = setUp();
  const { told } = watch('old');
  await Promise.all(Array.from({ length: 2 * MAX_PRESENTED }, () => renew('old', 'new')));
  expect(told).toHaveLength(1);
  // Nor did that use up what it may be presented for.
  for (let n = 1; n < MAX_PRESENTED; n += 1) await renew(`${n}`, 'new');
  await expect(renew('more', 'new')).rejects.toMatchObject({ reason: 'rate_limited' });
});

test('presented for each other, tokens are told and counted each time', async () => {
  const { renew, watch } = setUp();
  const { told } = watch('one');
  await renew('one', 'other');
  await renew('other', 'one');
  await renew('one', 'other');
  expect(told).toHaveLength(2);
  const goOn = async () => {
    for (let n = 0; n < MAX_PRESENTED; n += 1) {
      await renew('other', 'one');
      await renew('one', 'other');
    }
  };
  await expect(goOn()).rejects.toMatchObject({ reason: 'rate_limited' });
});
