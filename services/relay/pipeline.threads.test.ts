import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMemoryLimits } from '#lib/limits/memory-limits.ts';
import { until } from '../../test/support/until.ts';
import type { Accepted } from './intake.ts';
import { createPipeline } from './pipeline.ts';
import { item, received, TestLog, TestProjects } from './pipeline-testing.ts';
import { createProcessor } from './processing/create-processor.ts';

const HOSTILE = new URL('./processing/worker-testing.ts', import.meta.url);

test('threads that die while others work, and while the relay drains: each event is told of once, and nothing waits on', async () => {
  const message = fc.constantFrom('fine', 'fine', 'fine', 'fine', 'fine', 'please throw', 'please exit');
  const property = fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 40 }), async (messages) => {
    const log = new TestLog();
    // What threads died of.
    const onError = () => undefined;
    const processor = createProcessor({ threads: 2, workerUrl: HOSTILE, onError });
    const pipeline = createPipeline({
      ...{ projects: new TestProjects(), limits: createMemoryLimits(), processor, log, onError },
      settings: { maxBatchWaitMs: 1, maxBatchEnvelopes: 7 },
    });
    const sent = messages.map((text) => received([item('event', JSON.stringify({ message: text }))]));
    const accepted: Accepted[] = [];
    for (const [n, each] of sent.entries()) {
      accepted.push(pipeline.accept(each));
      if (n % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(await pipeline.drain(60_000)).toBe(true);
    pipeline.close();
    await processor.close();
    expect(accepted.every(({ kind }) => kind === 'queued')).toBe(true);
    expect(pipeline.counters).toMatchObject({ queuedEnvelopes: 0, queuedBytes: 0, lostEnvelopes: 0 });
    await until('all is told', () => log.messages().length + log.outcomes().length === sent.length);
    const stored = log.messages().map(({ eventId }) => eventId);
    const refused = log.outcomes().map(({ eventId }) => eventId);
    const isFine = (eventId: string) => messages[sent.findIndex((each) => each.eventId === eventId)] === 'fine';
    expect(new Set([...stored, ...refused]).size).toBe(sent.length);
    expect([stored.every(isFine), stored.length]).toEqual([true, messages.filter((text) => text === 'fine').length]);
  });
  await fc.assert(property, { numRuns: 8 });
}, 120_000);
