import { describe, expect, test } from 'vitest';
import { ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import { TOPICS } from '#lib/ingest/topics.ts';
import { until } from '../../test/support/until.ts';
import type { Accepted } from './intake.ts';
import {
  enabled,
  item,
  KEY,
  OTHER_KEY,
  OWNER,
  openPipeline,
  type PipelineUnderTest,
  received,
} from './pipeline-testing.ts';

async function settled(accepted: Accepted): Promise<boolean> {
  if (accepted.kind !== 'queued') throw new Error(`it was ${accepted.kind}`);
  return accepted.settled;
}

/** Outcomes of what is refused at once are written a little later. */
async function outcomesOf(under: PipelineUnderTest, count: number) {
  await until('all outcomes are written', () => under.log.outcomes().length >= count);
  return under.log.outcomes();
}

function quota(fields: { categories?: string[]; limit: number; reasonCode?: string }) {
  const { categories = ['error'], limit, reasonCode = 'over' } = fields;
  return {
    ...{ scope: ScopedQuota_Scope.KEY, scopeId: OWNER.keyId },
    quota: { id: `q${categories}`, categories, limit: BigInt(limit), windowSec: 3600, reasonCode },
  };
}

describe('what is taken', () => {
  test('an event goes to the log as it was processed, and says whose it is', async () => {
    const under = openPipeline();
    const envelope = received([item('event', '{"message":"hi"}')]);
    const accepted = under.pipeline.accept(envelope);
    expect(accepted).toMatchObject({ kind: 'queued', limits: [] });
    expect(await settled(accepted)).toBe(true);
    expect(under.log.messages()).toEqual([
      {
        ...{ topic: TOPICS.events, type: 'event', eventId: envelope.eventId, ...OWNER, retentionDays: 30 },
        ...{ payload: expect.any(Uint8Array), startTimeMs: envelope.sender.receivedMs, remoteAddr: undefined },
        ...{ category: 'error', attachments: [] },
      },
    ]);
    expect(under.log.outcomes()).toEqual([]);
    expect(under.pipeline.counters).toMatchObject({ receivedEvents: 1, loggedEvents: 1, queuedBytes: 0 });
  });

  test.for([
    ['transaction', TOPICS.transactions],
    ['feedback', TOPICS.feedback],
  ] as const)('a %s goes to %s', async ([type, topic]) => {
    const under = openPipeline();
    await settled(under.pipeline.accept(received([item(type)])));
    expect(under.log.messages()).toMatchObject([{ topic, category: type }]);
  });

  test('what belongs to an event precedes it in its partition, large attachments in pieces', async () => {
    const under = openPipeline();
    const large = Buffer.alloc(2.5 * 1024 * 1024, 'x');
    const items = [
      item('event'),
      item('attachment', large, { filename: 'large.bin' }),
      item('attachment', 'small', { filename: 'small.txt', contentType: 'text/plain' }),
      item('user_report', '{"comments":"it broke"}'),
    ];
    await settled(under.pipeline.accept(received(items)));
    const messages = under.log.messages();
    expect(messages.map(({ type }) => type)).toEqual([
      ...['attachment_chunk', 'attachment_chunk', 'attachment_chunk', 'user_report', 'event'],
    ]);
    expect(new Set(messages.map(({ topic }) => topic))).toEqual(new Set([TOPICS.attachments]));
    expect(new Set(under.log.records.map(({ key }) => Buffer.from(key).toString('hex'))).size).toBe(1);
    const pieces = messages.flatMap((each) => (each.type === 'attachment_chunk' ? [each] : []));
    expect(Buffer.concat(pieces.map(({ payload }) => payload)).equals(large)).toBe(true);
    expect(messages.at(-1)).toMatchObject({
      attachments: [
        { id: pieces[0]?.id, name: 'large.bin', sizeBytes: large.byteLength, content: { chunks: 3 } },
        { name: 'small.txt', contentType: 'text/plain', content: { data: expect.any(Uint8Array) } },
      ],
    });
  });

  test('an attachment by itself goes by itself', async () => {
    const under = openPipeline();
    await settled(under.pipeline.accept(received([item('attachment', 'late')])));
    expect(under.log.messages()).toMatchObject([{ topic: TOPICS.attachments, type: 'attachment' }]);
  });

  test('what comes together is processed and appended together', async () => {
    const under = openPipeline();
    const all = Array.from({ length: 200 }, () => under.pipeline.accept(received([item('event')])));
    expect(await Promise.all(all.map(settled))).toEqual(new Array(200).fill(true));
    expect(under.processor.batches).toEqual([64, 64, 64, 8]);
    expect(under.log.appended).toHaveLength(4);
    expect(under.log.messages()).toHaveLength(200);
  });

  test('what processing refuses has outcomes, and those that bills are made of go to their topic', async () => {
    const under = openPipeline();
    const refused = (outcome: string, reason: string) =>
      item('refused', JSON.stringify({ outcome, reason, category: 'error', quantity: 2 }));
    const envelope = received([refused('filtered', 'localhost'), refused('rate_limited', 'client'), item('event')]);
    await settled(under.pipeline.accept(envelope));
    const { eventId } = envelope;
    expect(under.log.outcomes()).toMatchObject([
      { topic: TOPICS.outcomes, outcome: 'filtered', reason: 'localhost', quantity: 2, eventId, ...OWNER },
      { topic: TOPICS.billing, outcome: 'rate_limited', reason: 'client', quantity: 2, eventId },
    ]);
    expect(under.log.messages()).toHaveLength(1);
    expect(under.pipeline.counters.outcomes).toMatchObject({ filtered: 1, rate_limited: 1 });
  });
});

describe('projects', () => {
  test('what was no envelope has an outcome, of its project where that is known', async () => {
    const under = openPipeline();
    const { sender } = received([]);
    for (const publicKey of [KEY, OTHER_KEY]) {
      under.pipeline.invalid({ sender: { ...sender, publicKey }, reason: 'invalid_json', category: 'error' });
    }
    expect(await outcomesOf(under, 2)).toMatchObject([
      { outcome: 'invalid', reason: 'invalid_json', quantity: 1, ...OWNER },
      { outcome: 'invalid', reason: 'invalid_json', quantity: 1, projectId: undefined },
    ]);
  });

  test('what comes before its project is known waits for it, for each as long', async () => {
    const under = openPipeline({ projectTimeoutMs: 300 });
    const accepted = Array.from({ length: 3 }, () =>
      under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY })),
    );
    expect(accepted.map(({ kind }) => kind)).toEqual(['queued', 'queued', 'queued']);
    under.projects.set(OTHER_KEY, enabled({ keyId: 9n }));
    expect(await Promise.all(accepted.map(settled))).toEqual([true, true, true]);
    expect(under.log.messages()).toMatchObject(new Array(3).fill({ type: 'event', keyId: 9n }));
  });

  test('a key that turns out to be disabled is an outcome for those, and a refusal from then on', async () => {
    const under = openPipeline();
    const first = received([item('event')], { publicKey: OTHER_KEY });
    const accepted = under.pipeline.accept(first);
    under.projects.set(OTHER_KEY, { kind: 'disabled' });
    expect(await settled(accepted)).toBe(true);
    const second = received([item('event')], { publicKey: OTHER_KEY });
    expect(under.pipeline.accept(second)).toEqual({ kind: 'refused', reason: 'project_disabled' });
    const invalid = { outcome: 'invalid', reason: 'project_id', category: 'error', organizationId: undefined };
    expect(await outcomesOf(under, 2)).toMatchObject([
      { ...invalid, eventId: first.eventId },
      { ...invalid, eventId: second.eventId },
    ]);
  });

  test('one that stays unknown is an outcome at its deadline, and what came later waits on', async () => {
    // So that much lies between the two deadlines, also for a busy machine.
    const under = openPipeline({ projectTimeoutMs: 3_000 });
    const early = under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY }));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const late = under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY }));
    expect(await settled(early)).toBe(true);
    expect(under.log.outcomes()).toMatchObject([{ outcome: 'invalid', reason: 'project_unavailable' }]);
    under.projects.set(OTHER_KEY, enabled());
    expect(await settled(late)).toBe(true);
    expect(under.log.messages()).toHaveLength(1);
  });

  test.for([
    ['project_id', 'project_id', { projectId: 99n }],
    ['origin', 'cors', { origin: 'https://evil.example' }],
  ] as const)('a wrong %s is refused, with an outcome of the project', async ([reason, said, sender]) => {
    const under = openPipeline();
    const state = enabled({ allowedDomains: ['good.example'] });
    under.projects.set(KEY, state);
    const envelope = received([item('event'), item('attachment', 'abc'), item('client_report')], sender);
    expect(under.pipeline.accept(envelope)).toEqual({ kind: 'refused', reason });
    const waited = under.pipeline.accept(received([item('event')], { ...sender, publicKey: OTHER_KEY }));
    under.projects.set(OTHER_KEY, state);
    expect(await settled(waited)).toBe(true);
    const common = { outcome: 'invalid', reason: said, ...OWNER };
    const { eventId } = envelope;
    const outcomes = await outcomesOf(under, 4);
    expect(outcomes.filter((outcome) => outcome.eventId === eventId)).toMatchObject([
      { ...common, category: 'error', quantity: 1 },
      { ...common, category: 'attachment', quantity: 3 },
      { ...common, category: 'attachment_item', quantity: 1 },
    ]);
    expect(outcomes.filter((outcome) => outcome.eventId !== eventId)).toMatchObject([common]);
    expect(under.log.messages()).toEqual([]);
  });

  test('without a project in the URL, and from an allowed origin, it is taken', async () => {
    const under = openPipeline();
    under.projects.set(KEY, enabled({ allowedDomains: ['*.good.example'] }));
    const sender = { projectId: undefined, origin: 'https://www.good.example' };
    expect(await settled(under.pipeline.accept(received([item('event')], sender)))).toBe(true);
  });
});

describe('limits', () => {
  test('of 5: five are logged, the sixth is taken and dropped, the seventh is refused without counting', async () => {
    const under = openPipeline();
    under.projects.set(KEY, enabled({ quotas: [quota({ limit: 5 })] }));
    for (let n = 1; n <= 6; n += 1) {
      const accepted = under.pipeline.accept(received([item('event')]));
      expect(accepted).toMatchObject({ kind: 'queued', limits: [] });
      expect(await settled(accepted)).toBe(true);
    }
    expect(under.log.messages()).toHaveLength(5);
    under.asked.length = 0;
    const seventh = received([item('event')]);
    expect(under.pipeline.accept(seventh)).toMatchObject({
      kind: 'limited',
      limits: [{ scope: 'key', scopeId: OWNER.keyId, categories: ['error'], reasonCode: 'over' }],
    });
    expect(under.asked).toEqual([]);
    const outcomes = await outcomesOf(under, 2);
    expect(outcomes).toMatchObject(
      new Array(2).fill({ topic: TOPICS.billing, outcome: 'rate_limited', reason: 'over', category: 'error' }),
    );
    expect(outcomes[1]?.eventId).toBe(seventh.eventId);
    under.projects.set(OTHER_KEY, enabled({ keyId: 4n }));
    expect(under.pipeline.accept(received([item('event')], { publicKey: OTHER_KEY })).kind).toBe('queued');
  });

  test('many at once: never more than the limit, and what was met saves the work for the rest', async () => {
    const under = openPipeline({ maxBatches: 1 });
    under.projects.set(KEY, enabled({ quotas: [quota({ limit: 50 })] }));
    const all = Array.from({ length: 1000 }, () => under.pipeline.accept(received([item('event')])));
    await Promise.all(all.map(settled));
    expect(under.log.messages()).toHaveLength(50);
    expect(under.log.outcomes()).toHaveLength(950);
    expect(under.processor.batches).toEqual([64]);
    expect(under.asked).toHaveLength(64);
  });

  test('an event over a limit takes with it what belongs to it, and nothing else', async () => {
    const under = openPipeline();
    under.projects.set(KEY, enabled({ quotas: [quota({ limit: 1 })] }));
    const items = () => [item('event'), item('attachment', 'abc'), item('user_report'), item('client_report')];
    for (let n = 0; n < 2; n += 1) await settled(under.pipeline.accept(received(items())));
    expect(under.log.messages().map(({ type }) => type)).toEqual(['user_report', 'event']);
    const third = under.pipeline.accept(received(items()));
    expect(third).toMatchObject({ kind: 'queued', limits: [{ categories: ['error'] }] });
    expect(await settled(third)).toBe(true);
    const group = [
      { outcome: 'rate_limited', category: 'error', quantity: 1 },
      { outcome: 'rate_limited', category: 'attachment', quantity: 3 },
      { outcome: 'rate_limited', category: 'attachment_item', quantity: 1 },
      { outcome: 'rate_limited', category: 'feedback', quantity: 1 },
    ];
    expect(under.log.outcomes()).toMatchObject([...group, ...group]);
  });

  test.for(['attachment', 'attachment_item'])('a limit of %s drops attachments alone', async (category) => {
    const under = openPipeline();
    const limit = category === 'attachment' ? 4 : 1;
    under.projects.set(KEY, enabled({ quotas: [quota({ categories: [category], limit })] }));
    const items = () => [item('event'), item('attachment', 'abc')];
    for (let n = 0; n < 3; n += 1) {
      const accepted = under.pipeline.accept(received(items()));
      expect(accepted).toMatchObject({ kind: 'queued', limits: n < 2 ? [] : [{ categories: [category] }] });
      await settled(accepted);
    }
    const messages = under.log.messages();
    expect(messages).toMatchObject([
      { topic: TOPICS.attachments, attachments: [{ sizeBytes: 3 }] },
      { topic: TOPICS.events, attachments: [] },
      { topic: TOPICS.events, attachments: [] },
    ]);
    expect(under.log.outcomes().map((each) => each.category)).toEqual([
      ...['attachment', 'attachment_item', 'attachment', 'attachment_item'],
    ]);
  });

  test('limit 0 refuses the first one, asks nobody, and ends with the config', async () => {
    const under = openPipeline();
    under.projects.set(KEY, enabled({ quotas: [quota({ categories: [], limit: 0 })] }));
    const accepted = under.pipeline.accept(received([item('event'), item('attachment', 'x'), item('session')]));
    expect(accepted.kind === 'limited' && accepted.limits).toMatchObject([{ categories: [], reasonCode: 'over' }]);
    under.projects.set(KEY, enabled());
    expect(await settled(under.pipeline.accept(received([item('event')])))).toBe(true);
    expect(under.asked.flatMap(({ quotas }) => quotas)).toEqual([]);
  });

  test('limit 0 of what only processing tells ends with the config, too', async () => {
    const under = openPipeline();
    under.projects.set(KEY, enabled({ quotas: [quota({ categories: ['transaction'], limit: 0 })] }));
    const process = under.processor.process.bind(under.processor);
    under.processor.process = async (batch) =>
      (await process(batch)).map(({ events, ...more }) => ({
        ...more,
        events: events.map((event) => ({ ...event, category: 'transaction' as const })),
      }));
    expect(await settled(under.pipeline.accept(received([item('event')])))).toBe(true);
    expect(await outcomesOf(under, 1)).toMatchObject([{ outcome: 'rate_limited', category: 'transaction' }]);
    under.projects.set(KEY, enabled());
    expect(await settled(under.pipeline.accept(received([item('transaction')])))).toBe(true);
    expect(under.log.messages()).toHaveLength(1);
  });
});
