import { describe, expect, test } from 'vitest';
import { DAY_MS } from './days.ts';
import { OUTCOME_HOURS_KEPT_DAYS } from './delete-expired.ts';
import type { EventStore, NewEvent } from './event-store.ts';
import {
  type EventStoreContractOptions,
  expectStored,
  newAttachment,
  newEvent,
  newProject,
  queryOf,
  readAll,
  save,
  TestPartition,
  totalsOf,
} from './event-store-harness.ts';

export function describeRetention({ newSpace }: EventStoreContractOptions): void {
  describe('retention', () => {
    test('what has expired is not answered, though it is there', async () => {
      await using space = await newSpace();
      const store = await space.open();
      const whose = newProject();
      const old = Date.now() - 3 * DAY_MS;
      const kept = newEvent({ ...whose, receivedMs: old, retentionDays: 3, attachments: [newAttachment()] });
      await save(store, kept);
      await expectStored(store, kept);
      const table = async (day: string) => {
        for (const name of ['event_ids', 'attachments']) await space.execute(`update ${name} set expires_day = ${day}`);
        await space.execute(`update events set expires_day = ${day}`);
      };
      // As if a day had passed, for which PostgreSQL needs somewhere to put them.
      await save(store, newEvent({ ...newProject(), retentionDays: 1 }));
      await table(`${Math.floor(Date.now() / DAY_MS) + 2}`);
      expect(await store.get(kept.projectId, kept.eventId)).toBeDefined();
      await space.execute(`update event_ids set expires_day = ${Math.floor(Date.now() / DAY_MS)}`);
      await space.execute(`update attachments set expires_day = ${Math.floor(Date.now() / DAY_MS)}`);
      expect(await store.get(kept.projectId, kept.eventId)).toBeUndefined();
      expect(await readAll(store, kept.projectId, kept.eventId, kept.attachments[0]?.id ?? '')).toBeUndefined();
      await store.close();
    });

    test('what had expired when it came counts, and is not kept', async () => {
      await using space = await newSpace();
      const store = await space.open();
      const whose = newProject();
      const receivedMs = Date.now() - 5 * DAY_MS;
      const attachments = [newAttachment()];
      const late = newEvent({ ...whose, receivedMs, retentionDays: 3, attachments });
      const partition = new TestPartition();
      const chunk = { ...late, attachmentId: 'a', index: 0, data: Buffer.from('x') };
      const now = newEvent(whose);
      const fresh = await store.apply(
        partition.next(
          { kind: 'attachment_chunk', chunk },
          { kind: 'event', event: late },
          { kind: 'event', event: now },
        ),
      );
      // Who follows them live finds nothing of the late one.
      expect(fresh).toEqual([now]);
      expect(await store.get(late.projectId, late.eventId)).toBeUndefined();
      expect((await store.list(queryOf(whose))).events).toHaveLength(1);
      expect(await save(store, { ...late, receivedMs: late.receivedMs + 1 })).toEqual([]);
      expect(await totalsOf(store, whose.organizationId)).toEqual({
        'accepted error': 2n,
        'accepted attachment': 9n,
        'accepted attachment_item': 1n,
        'invalid duplicate error': 1n,
        'invalid duplicate attachment': 9n,
        'invalid duplicate attachment_item': 1n,
      });
      await store.close();
    });

    test("everything of a day goes, by each project's own setting; totals stay", async () => {
      await using space = await newSpace();
      const store = await space.open();
      const [short, long] = [newProject(), newProject()];
      const partition = new TestPartition();
      const events: NewEvent[] = [];
      for (let index = 0; index < 1_200; index++) {
        const attachments = index % 100 === 0 ? [newAttachment()] : [];
        events.push(newEvent({ ...short, retentionDays: 2 + (index % 4), attachments }));
      }
      const kept = [5, 6, 90].map((retentionDays) =>
        newEvent({ ...long, retentionDays, attachments: [newAttachment()] }),
      );
      await store.apply(partition.nextEvents([...events, ...kept]));
      const report = { ...newEvent({ ...short, retentionDays: 2 }), body: Buffer.from('{}') };
      await store.apply(partition.next({ kind: 'user_report', report }));

      const totals = await store.totals();
      expect(await deleteAll(store, Date.now())).toBe(1);
      expect((await store.list(queryOf({ ...short, limit: 2_000 }))).events).toHaveLength(1_200);
      // On the last day of the long ones, which go with its end.
      const laterMs = Date.now() + 5 * DAY_MS;
      expect(await deleteAll(store, laterMs + DAY_MS)).toBeGreaterThan(1);
      await deleteAll(store, laterMs);
      const left = [];
      for (const event of kept) if (await store.get(event.projectId, event.eventId)) left.push(event.retentionDays);
      expect(left).toEqual([6, 90]);
      for (const event of kept.slice(1)) {
        await expectStored(store, event);
        const { id = '', data } = event.attachments[0] ?? {};
        expect(await readAll(store, event.projectId, event.eventId, id)).toEqual(data);
      }
      expect(await store.totals()).toEqual(totals);
      // Partitions go a day later, and chunks are kept for one more.
      await deleteAll(store, laterMs + 4 * DAY_MS);
      expect((await store.list(queryOf(short))).events).toEqual([]);
      const rows = async (table: string) =>
        Number((await space.execute(`select count(*) as n from ${table}`))[0]?.['n']);
      expect(
        await Promise.all(['event_ids', 'events', 'attachments', 'attachment_chunks', 'user_reports'].map(rows)),
      ).toEqual([1, 1, 1, 1, 0]);
      await store.close();
    });

    test('an id may come again when its event has gone', async () => {
      await using space = await newSpace();
      const [store, other] = [await space.open(), await space.open()];
      const event = newEvent({ ...newProject(), retentionDays: 2, attachments: [newAttachment()] });
      await save(store, event);
      await deleteAll(other, Date.now() + 10 * DAY_MS);
      expect(await save(store, event)).toEqual([event]);
      await expectStored(store, event);
      await Promise.all([store.close(), other.close()]);
    });

    test('the hourly series is kept for more than a year', async () => {
      await using space = await newSpace();
      const store = await space.open();
      const event = newEvent(newProject());
      await save(store, event);
      const of = { ...event, keyId: undefined, category: undefined, fromMs: 0, toMs: Date.now() + 1, limit: 10 };
      await deleteAll(store, Date.now() + OUTCOME_HOURS_KEPT_DAYS * DAY_MS);
      expect(await store.outcomes(of)).toHaveLength(1);
      await deleteAll(store, Date.now() + (OUTCOME_HOURS_KEPT_DAYS + 1) * DAY_MS);
      expect(await store.outcomes(of)).toEqual([]);
      expect(await totalsOf(store, event.organizationId)).toEqual({ 'accepted error': 1n });
      await store.close();
    });

    test('several delete at once, while others write and read: nothing is refused, and nothing else goes', async () => {
      await using space = await newSpace();
      const [store, ...others] = await Promise.all([1, 2, 3].map(() => space.open()));
      if (store === undefined) throw new Error('there are three');
      const whose = newProject();
      const kept: NewEvent[] = [];
      for (let retentionDays = 0; retentionDays < 10; retentionDays++) {
        await save(store, ...Array.from({ length: 100 }, () => newEvent({ ...whose, retentionDays })));
      }
      let isOver = false;
      const writing = (async () => {
        const partition = new TestPartition();
        for (let batch = 1; !isOver || batch < 10; batch++) {
          const events = [20, 40].map((retentionDays) => newEvent({ ...whose, retentionDays }));
          await store.apply(partition.nextEvents(events));
          kept.push(...events);
          await store.list(queryOf({ ...whose, limit: 5 }));
        }
      })();
      for (let days = 1; days <= 12; days++) {
        await Promise.all(others.map((other) => deleteAll(other, Date.now() + days * DAY_MS)));
      }
      isOver = true;
      await writing;
      const all = await store.list(queryOf({ ...whose, limit: kept.length + 1 }));
      expect(all.events).toHaveLength(kept.length);
      for (const event of kept) await expectStored(store, event);
      await Promise.all([store, ...others].map((each) => each.close()));
    });
  });
}

/** @returns how often it was called until there was no more. */
async function deleteAll(store: EventStore, nowMs: number): Promise<number> {
  let calls = 1;
  while (await store.deleteExpired(nowMs)) calls++;
  return calls;
}
