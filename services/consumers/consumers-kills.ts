import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { INGEST_TOPICS, OUTCOME_TOPICS, TOPICS } from '#lib/ingest/topics.ts';
import { openLog } from '#lib/log/open-log.ts';
import { auditOutcomes, isBalanced } from '../../cli/outcomes/audit.ts';
import { renderAudit } from '../../cli/outcomes/render.ts';
import { until } from '../../test/support/until.ts';
import { eventMessage, ingestRecord, outcomeRecord, PROJECT } from './consumers-testing.ts';
import type { ThreadData } from './thread-messages.ts';

export interface KillSpace extends AsyncDisposable {
  readonly data: ThreadData;
}

export interface KillsOptions {
  readonly newSpace: () => Promise<KillSpace>;
  readonly rounds: number;
  /** How long a process may live, at most: beyond what it takes to begin. */
  readonly maxLifeMs: number;
}

const PROGRAM = fileURLToPath(new URL('./consume-until-killed.ts', import.meta.url));
const GARBAGE = { topic: TOPICS.events, key: Buffer.from('k'), value: Buffer.from('garbage') };
const EVENTS_A_ROUND = 200;
const SETTLE_TIMEOUT_MS = 60_000;
/** On Kafka a killed member holds up its group for a session's timeout, each time. */
const TEST_TIMEOUT_MS = 150_000;

/** Consumers that are killed again and again, in the middle of whatever they do, have each record's effect once. */
export function describeKills(name: string, { newSpace, rounds, maxLifeMs }: KillsOptions): void {
  test(
    `${name}: everything has its effect once, however often consumers are killed`,
    async () => {
      await using space = await newSpace();
      const { data } = space;
      const log = await openLog(data.log);
      // Its schema is there before two processes begin at once.
      const store = await openEventStore(data.store);
      const events: string[] = [];
      const children: ChildProcess[] = [];
      try {
        for (let round = 0; round < rounds; round++) {
          const messages = Array.from({ length: EVENTS_A_ROUND }, () => eventMessage());
          const [first] = messages;
          events.push(...messages.map(({ eventId }) => eventId));
          const appending = log.append([
            ...messages.map((message) => ingestRecord(message)),
            ...(first === undefined ? [] : [ingestRecord({ ...first, startTimeMs: first.startTimeMs + 1 })]),
            GARBAGE,
            outcomeRecord({ quantity: 3 }),
          ]);
          const child = spawn(process.execPath, [PROGRAM, JSON.stringify(data)], {
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          children.push(child);
          await Promise.all([appending, once(child.stdout, 'data')]);
          await delay(Math.random() * maxLifeMs);
          // The one before is killed: there are two for a while, and partitions move.
          if (children.length > 1) await killed(children.shift());
        }
        await until(
          'everything is handled',
          async () => {
            const lags = await Promise.all([log.lag('events', INGEST_TOPICS), log.lag('outcomes', OUTCOME_TOPICS)]);
            return lags.every((lag) => lag === 0n);
          },
          SETTLE_TIMEOUT_MS,
        );
        const result = await auditOutcomes({ log, store, now: Date.now });
        expect(renderAudit(result)).toContain('\nBalanced.');
        expect(result.kind === 'audited' && isBalanced(result)).toBe(true);
        for (const eventId of events) expect(await store.get(PROJECT, eventId)).toBeDefined();
        const totals = await store.totals();
        const counts = Object.fromEntries(
          totals.map(({ outcome, reason, quantity }) => [`${outcome} ${reason}`, quantity]),
        );
        expect(counts).toEqual({
          'accepted ': BigInt(rounds * EVENTS_A_ROUND),
          'invalid duplicate': BigInt(rounds),
          'invalid internal': BigInt(rounds),
          'filtered localhost': BigInt(3 * rounds),
        });
      } finally {
        await Promise.all(children.map(killed));
        await log.close();
        await store.close();
      }
    },
    TEST_TIMEOUT_MS,
  );
}

async function killed(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
