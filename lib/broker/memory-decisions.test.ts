import { expect, test } from 'vitest';
import { BrokerUnavailableError } from './broker.ts';
import { newChannel } from './broker-harness.ts';
import type { DecisionsHarness } from './decisions-contract.ts';
import { describeDecisionsContract, newDecision } from './decisions-contract.ts';
import { createMemoryBroker } from './memory-broker.ts';
import { MemoryDecisions } from './memory-decisions.ts';

async function openHarness(): Promise<DecisionsHarness> {
  let nowMs = Date.now();
  const broker = createMemoryBroker({ now: () => nowMs });
  return {
    open: () => broker,
    elapse: async (ms) => {
      nowMs += ms;
    },
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

test('a closed broker refuses', async () => {
  const broker = createMemoryBroker();
  await broker.close();
  await expect(broker.decisions.make(newDecision(), 1000)).rejects.toThrow(BrokerUnavailableError);
  await expect(broker.decisions.find([newDecision()])).rejects.toThrow(BrokerUnavailableError);
});
