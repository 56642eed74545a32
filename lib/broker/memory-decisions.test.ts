import { expect, test } from 'vitest';
import { BrokerUnavailableError } from './broker.ts';
import { newChannel } from './broker-harness.ts';
import { tokenKey } from './decisions.ts';
import type { DecisionsHarness } from './decisions-contract.ts';
import { describeDecisionsContract, newDecision } from './decisions-contract.ts';
import { createMemoryBroker } from './memory-broker.ts';
import { MemoryDecisions } from './memory-decisions.ts';

async function openHarness(): Promise<DecisionsHarness> {
  let nowMs = Date.now();
  const broker = createMemoryBroker({ now: () => nowMs });
  const elapse = async (ms: number) => {
    nowMs += ms;
  };
  return {
    open: () => broker,
    elapse,
    elapseCount: elapse,
    shared: false,
    close: () => broker.close(),
  };
}

describeDecisionsContract('memory', openHarness);

test('refuses what it has no room for, and has room again when decisions expire', async () => {
  let nowMs = 0;
  const decisions = new MemoryDecisions(() => nowMs, 3);
  const kept = newDecision();
  await decisions.make(kept, 500);
  for (let n = 0; n < 2; n += 1) await decisions.make(newDecision(), 1000);
  await expect(decisions.make(newDecision(), 1000)).rejects.toThrow(BrokerUnavailableError);
  expect(await decisions.find([kept])).toEqual([kept]);
  // What it knows takes no more room.
  expect(await decisions.make({ ...kept, detail: 'again' }, 500)).toEqual(kept);
  nowMs = 500;
  expect(await decisions.make(newDecision({ about: newChannel() }), 1000)).toBeDefined();
});

// Whoever has many tokens of listeners can say of any ids that they follow them: as many, and as long, as it likes.
test.each([
  ['many', 100_000, 20],
  ['long ones', 10_000, 9_000],
])('renewals take neither all the room there is nor all the memory: %s', async (_, count, length) => {
  const decisions = new MemoryDecisions(() => 0);
  let remembered = 0;
  const refused = async () => {
    for (let n = 0; n < count; n += 1) {
      const renewed = newDecision({ kind: 'token_renewed', about: tokenKey(7n, `${n}`), detail: 'x'.repeat(length) });
      await decisions.make(renewed, 1000);
      remembered += 1;
    }
  };
  await expect(refused()).rejects.toThrow('full');
  expect(remembered).toBeGreaterThan(2_000);
  const revoked = newDecision({ kind: 'token_revoked', about: tokenKey(7n, 'x') });
  expect(await decisions.make(revoked, 1000)).toEqual(revoked);
  // Presented once more, it takes the room that it has.
  const again = newDecision({ kind: 'token_renewed', about: tokenKey(7n, '0'), atMs: revoked.atMs + 1 });
  expect(await decisions.make(again, 1000)).toEqual(again);
});

test('counts for no more tokens than it may, until some begin anew', async () => {
  let nowMs = 0;
  const decisions = new MemoryDecisions(() => nowMs, 3);
  const count = (id: string) => decisions.count(tokenKey(7n, id), 1, 1000);
  for (const id of ['a', 'b', 'c']) expect(await count(id)).toBeUndefined();
  await expect(count('d')).rejects.toThrow(BrokerUnavailableError);
  nowMs = 400;
  expect(await count('a')).toBe(600);
  nowMs = 1000;
  expect(await count('d')).toBeUndefined();
});

test('a closed broker refuses', async () => {
  const broker = createMemoryBroker();
  await broker.close();
  await expect(broker.decisions.make(newDecision(), 1000)).rejects.toThrow(BrokerUnavailableError);
  await expect(broker.decisions.find([newDecision()])).rejects.toThrow(BrokerUnavailableError);
});
