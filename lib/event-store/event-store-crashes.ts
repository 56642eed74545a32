import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../test/support/random-changes.ts';
import {
  batchFrom,
  CRASH_ORGANIZATION,
  CRASH_PARTITION,
  effectAt,
  type RandomEffectsOptions,
} from '../../test/support/random-effects.ts';
import type { EventStore, NewEvent } from './event-store.ts';
import { type EventStoreContractOptions, everyPage, queryOf, readAll, totalsOf } from './event-store-harness.ts';

const PROGRAM = fileURLToPath(new URL('../../test/support/random-effects.ts', import.meta.url));
const RECORDS = 1_500;
const MAX_BATCHES_A_LIFE = 40;
const TIMEOUT_MS = 60_000;

/** Guarantees 1 to 4 of event-store.ts, for a process that dies in the middle of anything. */
export function describeEventStoreCrashes(name: string, { newSpace }: EventStoreContractOptions): void {
  describe(`crashes: ${name}`, () => {
    test(
      'of 1,500 records, killed again and again and two at once, each has its effect once',
      async () => {
        await using space = await newSpace();
        const { databaseUrl, dataDir } = space;
        const seed = Date.now() & 0xffff;
        const random = randomFrom(seed);
        const store = await space.open();
        let position = 0;
        for (let life = 1; position < RECORDS; life++) {
          const untilKilled = Math.ceil(random() * MAX_BATCHES_A_LIFE);
          const options = { databaseUrl, dataDir, end: RECORDS * 2, seed: seed + life };
          // As where a partition moves, and who had it does not know yet.
          const both = await Promise.all([liveAndDie(options, untilKilled), liveAndDie(options, untilKilled)]);
          const { group, topicId, partition } = CRASH_PARTITION;
          position = Number((await store.position(group, topicId, partition))?.offset);
          expect(position).toBeGreaterThanOrEqual(Math.max(...both));
          await expectEffects(store, position);
        }
        // And what comes again from the very beginning changes nothing.
        expect(await store.apply(batchFrom(0, position))).toEqual([]);
        await expectEffects(store, position);
        await store.close();
      },
      TIMEOUT_MS,
    );
  });
}

/** Runs the program until it has applied so many batches, and kills it in whatever it is doing then. */
async function liveAndDie(options: RandomEffectsOptions, untilKilled: number): Promise<number> {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let [position, batches] = [0, 0];
  for await (const line of createInterface({ input: child.stdout })) {
    position = Number(line);
    batches++;
    if (batches === untilKilled) child.kill('SIGKILL');
  }
  await exited;
  expect(child.signalCode).toBe('SIGKILL');
  return position;
}

/** All that the records before the position say, and nothing else. */
async function expectEffects(store: EventStore, position: number): Promise<void> {
  const expected: Record<string, bigint> = {};
  const count = (name: string, quantity: number) => {
    expected[name] = (expected[name] ?? 0n) + BigInt(quantity);
  };
  const events = new Map<string, NewEvent>();
  for (let index = 0; index < position; index++) {
    const effect = effectAt(index);
    if (effect.kind === 'outcome') count('rate_limited quota error', effect.outcome.quantity);
    if (effect.kind !== 'event') continue;
    const { event } = effect;
    count(events.has(event.eventId) ? 'invalid duplicate error' : 'accepted error', 1);
    if (!events.has(event.eventId)) events.set(event.eventId, event);
    for (const { sizeBytes } of event.attachments) {
      count('accepted attachment', sizeBytes);
      count('accepted attachment_item', 1);
    }
  }
  expect(await totalsOf(store, CRASH_ORGANIZATION)).toEqual(expected);
  const listed = (await everyPage(store, queryOf({ organizationId: CRASH_ORGANIZATION, limit: 1_000 }))).flat();
  const titles = listed.map(({ title }) => title).toSorted();
  expect(titles).toEqual([...events.values()].map(({ title }) => title).toSorted());
  const last = [...events.values()].findLast(({ attachments }) => attachments.length > 0);
  for (const { id, sizeBytes } of last?.attachments ?? []) {
    expect(await readAll(store, 1n, last?.eventId ?? '', id)).toHaveLength(sizeBytes);
  }
}
