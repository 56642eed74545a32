import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ScopedQuota_Scope, ScopedQuotaSchema } from '#gen/tideway/config/v1/config_service_pb.ts';
import { LogFullError, LogUnavailableError } from '#lib/log/log.ts';
import { until } from '../../test/support/until.ts';
import type { Accepted } from './intake.ts';
import { enabled, item, KEY, OTHER_KEY, OWNER, openPipeline, received } from './pipeline-testing.ts';

// Whatever happens to what was taken, in whatever order: what waits is counted while it waits and no longer, each event is
// told of once, and nobody waits for ever.

const THIRD_KEY = 'c'.repeat(32);
const KEYS = [KEY, OTHER_KEY, THIRD_KEY];
const MAX_QUEUE_BYTES = 40_000;

const quota = (limit: number, category = 'error') =>
  create(ScopedQuotaSchema, {
    scope: ScopedQuota_Scope.KEY,
    scopeId: OWNER.keyId,
    quota: { id: `${category}${Math.random()}`, categories: [category], limit: BigInt(limit), windowSec: 3600 },
  });

const STATES = {
  open: () => enabled(),
  disabled: () => ({ kind: 'disabled' }) as const,
  unknown: () => ({ kind: 'pending' }) as const,
  limited: () => enabled({ quotas: [quota(3), quota(2, 'attachment_item')] }),
  off: () => enabled({ quotas: [quota(0)] }),
  elsewhere: () => enabled({ projectId: 99n }),
};
const FAULTS = {
  none: undefined,
  away: new LogUnavailableError('away'),
  full: new LogFullError('full'),
  refusing: new RangeError('this one is not for me'),
};

const names = <T extends object>(of: T) => fc.constantFrom(...(Object.keys(of) as (keyof T)[]));
const sent = fc.record({
  kind: fc.constant('send' as const),
  key: fc.constantFrom(...KEYS),
  payload: fc.constantFrom('{}', '{}', '{}', 'die'),
  attachments: fc.array(fc.nat(9_000), { maxLength: 3 }),
  times: fc.integer({ min: 1, max: 12 }),
});
const step = fc.oneof(
  { weight: 8, arbitrary: sent },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('state' as const), key: fc.constantFrom(...KEYS), state: names(STATES) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('log' as const), fault: names(FAULTS) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(8) }) },
);

test('what waits is counted up and down, and nothing is told twice or not at all', async () => {
  const property = fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.boolean(), async (steps, isLost) => {
    const under = openPipeline({
      projectTimeoutMs: 30,
      maxQueueBytes: MAX_QUEUE_BYTES,
      maxBatches: 2,
      maxBatchEnvelopes: 5,
    });
    const { pipeline, projects, log } = under;
    const { counters } = pipeline;
    const accepted: Accepted[] = [];
    let charged = 0;
    for (const each of steps) {
      if (each.kind === 'state') projects.set(each.key, STATES[each.state]());
      else if (each.kind === 'log') log.failWith = FAULTS[each.fault];
      else if (each.kind === 'pass') await delay(each.ms);
      else
        for (let n = 0; n < each.times; n += 1) {
          const items = [
            item('event', each.payload),
            ...each.attachments.map((size) => item('attachment', Buffer.alloc(size))),
          ];
          const envelope = received(items, { publicKey: each.key });
          const answer = pipeline.accept(envelope);
          accepted.push(answer);
          if (answer.kind === 'queued') {
            charged += 1;
            void answer.settled.then(() => {
              charged -= 1;
            });
          }
          expect(counters.queuedBytes).toBeLessThanOrEqual(1.5 * MAX_QUEUE_BYTES);
        }
    }
    if (!isLost && log.failWith !== FAULTS.refusing) log.failWith = undefined;
    await pipeline.drain(isLost ? 5 : 10_000);
    pipeline.close();
    const settled = await Promise.all(accepted.flatMap((each) => (each.kind === 'queued' ? [each.settled] : [])));
    expect(counters).toMatchObject({ queuedEnvelopes: 0, queuedBytes: 0 });
    expect([charged, counters.lostEnvelopes]).toEqual([0, settled.filter((isLogged) => !isLogged).length]);
    const refused = accepted.filter(({ kind }) => kind === 'refused' || kind === 'limited').length;
    expect(counters.receivedEvents).toBe(settled.length + refused);
    // Each has an id of its own: what is told of it is told once.
    const told = () => {
      const outcomes = log.outcomes().filter(({ category }) => category === 'error');
      return [...log.messages().filter(({ type }) => type === 'event'), ...outcomes].map(({ eventId }) => eventId);
    };
    const isAllTold = () => told().length === counters.receivedEvents;
    await until(
      'the rest is told of, or lost',
      () => isAllTold() || counters.lostEnvelopes + counters.lostOutcomes > 0,
    );
    expect(new Set(told()).size).toBe(told().length);
    expect(log.messages().filter(({ type }) => type === 'event')).toHaveLength(counters.loggedEvents);
  });
  await fc.assert(property, { numRuns: 20 });
}, 120_000);
