import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { type Broker, BrokerUnavailableError, type EndedIdle } from '#lib/broker/broker.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { until } from '../../test/support/until.ts';
import { cleanupService } from './cleanup.ts';

/** Runs a pass on a broker of which some calls end as told, and answers what was logged, and how often it was asked. */
async function passOn(governs: () => Promise<void>, steps: readonly (EndedIdle | Error)[]) {
  const broker: Broker = createMemoryBroker();
  const left = [...steps];
  let asked = 0;
  broker.governIdle = governs;
  broker.endIdle = async () => {
    asked += 1;
    const step = left.shift() ?? { examined: 0, ended: [] };
    if (step instanceof Error) throw step;
    return step;
  };
  const lines: { msg: string; err?: { message: string } }[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) });
  const service = cleanupService({ broker, idleMs: 1000, intervalMs: 60_000, logger });
  onTestFinished(async () => {
    await service.close?.();
    await broker.close();
  });
  await until('the pass is over', () => left.length === 0);
  await new Promise((resolve) => setImmediate(resolve));
  return { asked, warnings: lines.filter(({ err }) => err !== undefined).map(({ err }) => err?.message), lines };
}

const away = new BrokerUnavailableError('a shard is away');
const channel = 'c' as EndedIdle['ended'][number];

test('what can\u2019t be reached is logged once a pass, and the pass goes on for as long as there is more', async () => {
  const step = { examined: 500, ended: [channel], problem: away };
  const { asked, warnings, lines } = await passOn(async () => {}, [step, step, { ...step, examined: 333 }]);
  expect(asked).toBe(3);
  expect(warnings).toEqual([away.message]);
  expect(lines).toHaveLength(4);
});

test('streams are ended also where it can\u2019t be said how long they may be idle', async () => {
  const governs = () => Promise.reject(new BrokerUnavailableError('the settings are away'));
  const { asked, warnings } = await passOn(governs, [{ examined: 1, ended: [channel], problem: away }]);
  expect(asked).toBe(1);
  expect(warnings).toEqual(['the settings are away']);
});

test('nothing answers: the pass is over, and says so once', async () => {
  const { asked, warnings } = await passOn(async () => {}, [{ examined: 500, ended: [] }, away]);
  expect(asked).toBe(2);
  expect(warnings).toEqual([away.message]);
});
