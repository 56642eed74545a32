import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { EventStore } from './event-store.ts';
import {
  type EventStoreSpace,
  expectStored,
  newAttachment,
  newEvent,
  newProject,
  save,
  TestPartition,
  totalsOf,
} from './event-store-harness.ts';

export function describeApplying(currentStore: () => EventStore, currentSpace: () => EventStoreSpace): void {
  describe('applying', () => {
    test('an event is read as it was saved, and counted as accepted', async () => {
      const store = currentStore();
      const event = newEvent(newProject());
      expect(await save(store, event)).toEqual([event]);
      await expectStored(store, event);
      expect(await totalsOf(store, event.organizationId)).toEqual({ 'accepted error': 1n });
      expect(await store.get(event.projectId + 1n, event.eventId)).toBeUndefined();
      expect(await store.get(event.projectId, newEvent().eventId)).toBeUndefined();
    });

    test('a batch that was applied changes nothing when it comes again, whole or with more', async () => {
      const store = currentStore();
      const whose = newProject();
      const partition = new TestPartition();
      const first = partition.nextEvents([newEvent(whose), newEvent(whose)]);
      const second = partition.nextEvents([newEvent(whose)]);
      expect(await store.apply(first)).toHaveLength(2);
      expect(await store.apply(first)).toEqual([]);
      expect(await partition.position(store)).toBe(2n);
      const both = { ...first, effects: [...first.effects, ...second.effects] };
      expect(await store.apply(both)).toHaveLength(1);
      expect(await store.apply(both)).toEqual([]);
      expect(await store.apply(first)).toEqual([]);
      expect(await partition.position(store)).toBe(3n);
      expect(await totalsOf(store, whose.organizationId)).toEqual({ 'accepted error': 3n });
    });

    test('every group, topic and partition has a position of its own; records without effect move it', async () => {
      const store = currentStore();
      const { topicId } = new TestPartition();
      const partitions = [
        new TestPartition({ topicId }),
        new TestPartition({ topicId, partition: 1 }),
        new TestPartition({ topicId, group: 'other' }),
        new TestPartition(),
      ];
      for (const [index, partition] of partitions.entries()) {
        expect(await partition.position(store)).toBeUndefined();
        const none = Array.from({ length: index + 1 }, () => ({ kind: 'none' }) as const);
        expect(await store.apply(partition.next(...none))).toEqual([]);
      }
      const positions = await Promise.all(partitions.map((partition) => partition.position(store)));
      expect(positions).toEqual([1n, 2n, 3n, 4n]);
    });

    test('offsets may begin anywhere and leave some out', async () => {
      const store = currentStore();
      const whose = newProject();
      const partition = new TestPartition();
      const batch = partition.nextEvents([newEvent(whose), newEvent(whose)]);
      const offsets = [1n << 40n, (1n << 40n) + 7n];
      const effects = batch.effects.map((effect, index) => ({ ...effect, offset: offsets[index] ?? 0n }));
      expect(await store.apply({ ...batch, effects })).toHaveLength(2);
      expect(await partition.position(store)).toBe((1n << 40n) + 8n);
    });

    test('an id is stored once in its project: in a batch, later, from another topic', async () => {
      const store = currentStore();
      const whose = newProject();
      const event = newEvent({ ...whose, title: 'First' });
      const again = { ...event, receivedMs: event.receivedMs + 1, title: 'Again' };
      const elsewhere = newEvent({ ...whose, projectId: whose.projectId + 1n, eventId: event.eventId });
      expect(await save(store, event, again, elsewhere)).toEqual([event, elsewhere]);
      expect(await save(store, again)).toEqual([]);
      expect(await save(store, { ...again, category: 'transaction' }, newEvent(whose))).toHaveLength(1);
      await expectStored(store, event);
      await expectStored(store, elsewhere);
      expect(await totalsOf(store, whose.organizationId)).toEqual({
        'accepted error': 3n,
        'invalid duplicate error': 2n,
        'invalid duplicate transaction': 1n,
      });
    });

    test('what is stored and comes again, as an append that was repeated has it, is no duplicate: only another one is', async () => {
      const store = currentStore();
      const whose = newProject();
      const event = newEvent({ ...whose, attachments: [newAttachment()] });
      const other = { ...event, receivedMs: event.receivedMs + 1, title: 'Another' };
      expect(await save(store, event, event)).toEqual([event]);
      expect(await save(store, event, newEvent(whose))).toHaveLength(1);
      const accepted = { 'accepted error': 2n, 'accepted attachment': 9n, 'accepted attachment_item': 1n };
      expect(await totalsOf(store, whose.organizationId)).toEqual(accepted);
      // Each of its records, as nobody keeps which of them were repeated.
      expect(await save(store, other, event, other)).toEqual([]);
      await expectStored(store, event);
      expect(await totalsOf(store, whose.organizationId)).toEqual({
        ...accepted,
        'invalid duplicate error': 2n,
        'invalid duplicate attachment': 18n,
        'invalid duplicate attachment_item': 2n,
      });
    });

    test('two processes and more that apply the same batch at once: one does', async () => {
      const stores = await Promise.all(Array.from({ length: 5 }, () => currentSpace().open()));
      const whose = newProject();
      const partition = new TestPartition();
      for (let round = 0; round < 5; round++) {
        const events = Array.from({ length: 20 }, () => newEvent({ ...whose, attachments: [newAttachment()] }));
        const batch = partition.nextEvents(events);
        const news = await Promise.all(stores.map((store) => store.apply(batch)));
        expect(news.map(({ length }) => length).sort()).toEqual([0, 0, 0, 0, 20]);
      }
      expect(await totalsOf(currentStore(), whose.organizationId)).toEqual({
        'accepted error': 100n,
        'accepted attachment': 900n,
        'accepted attachment_item': 100n,
      });
      await Promise.all(stores.map((store) => store.close()));
    });

    test('who applies other partitions at once, with the same ids and counts, waits for nobody for ever', async () => {
      const stores = await Promise.all(Array.from({ length: 4 }, () => currentSpace().open()));
      const whose = newProject();
      const ids = Array.from({ length: 40 }, () => newEvent(whose));
      const partitions = stores.map((_, index) => new TestPartition({ partition: index }));
      const news = await Promise.all(
        stores.map(async (store, index) => {
          let count = 0;
          for (let round = 0; round < 4; round++) {
            const events = ids.slice(round * 10, round * 10 + 10);
            const batch = partitions[index]?.nextEvents(index % 2 === 0 ? events : events.toReversed());
            if (batch !== undefined) count += (await store.apply(batch)).length;
          }
          return count;
        }),
      );
      expect(news.reduce((sum, count) => sum + count)).toBe(40);
      expect(await totalsOf(currentStore(), whose.organizationId)).toEqual({
        'accepted error': 40n,
      });
      await Promise.all(stores.map((store) => store.close()));
    });

    test('a batch is applied whole or not at all', async () => {
      const store = currentStore();
      const whose = newProject();
      const event = newEvent(whose);
      const partition = new TestPartition();
      const impossible = newEvent({ ...whose, keyId: 1n << 70n });
      await expect(store.apply(partition.nextEvents([event, impossible]))).rejects.toThrow();
      expect(await store.get(event.projectId, event.eventId)).toBeUndefined();
      expect(await partition.position(store)).toBeUndefined();
      expect(await store.totals(whose.organizationId)).toEqual([]);
      expect(await store.apply(partition.nextEvents([event]))).toEqual([event]);
    });

    test('any text and any body is kept', async () => {
      const store = currentStore();
      const whose = newProject();
      const events = [
        newEvent({ ...whose, title: `it's "this" % _ \\ ? $1 :x {}`, user: 'Ünïcödé 👩‍🚀', searchText: '\n\t' }),
        newEvent({ ...whose, title: '', culprit: '', release: '', body: Buffer.alloc(0) }),
        newEvent({ ...whose, body: randomBytes(200_000), title: 'x'.repeat(10_000) }),
        newEvent({ ...whose, body: Buffer.alloc(5_000_000, '{"a":1}') }),
        newEvent({ ...whose, body: Buffer.from([0, 255, 0]), timeMs: -1_000 }),
      ];
      expect(await save(store, ...events)).toHaveLength(events.length);
      for (const event of events) await expectStored(store, event);
      // What PostgreSQL can't keep in a text.
      const odd = newEvent({ ...whose, title: 'a\0b', user: 'c\ud800d', searchText: '\0' });
      await save(store, odd);
      await expectStored(store, { ...odd, title: 'a\ufffdb', user: 'c\ufffdd' });
    });

    test('a batch of many is one', async () => {
      const store = currentStore();
      const whose = newProject();
      const events = Array.from({ length: 1_234 }, (_, index) => newEvent({ ...whose, title: `${index}` }));
      expect((await save(store, ...events)).map(({ title }) => title)).toEqual(events.map(({ title }) => title));
      expect(await totalsOf(store, whose.organizationId)).toEqual({ 'accepted error': 1_234n });
    });

    test('a position is taken back where the log has lost its end, once', async () => {
      const store = currentStore();
      const { organizationId, projectId } = newProject();
      const partition = new TestPartition();
      const ends = { group: partition.group, topicId: partition.topicId, partition: 0, offset: 3n, handledUntil: 5n };
      expect(await store.takeBack(ends)).toBe(false);
      const five = Array.from({ length: 5 }, () => newEvent({ organizationId, projectId }));
      await store.apply(partition.nextEvents(five));
      expect(await store.takeBack({ ...ends, partition: 1 })).toBe(false);
      expect(await store.takeBack({ ...ends, handledUntil: 6n })).toBe(true);
      expect(await partition.position(store)).toBe(5n);
      expect(await store.takeBack(ends)).toBe(true);
      expect(await partition.position(store)).toBe(3n);
      const others = Array.from({ length: 5 }, () => newEvent({ organizationId, projectId }));
      expect(await store.apply(new TestPartition(partition).nextEvents(others))).toHaveLength(2);
      expect(await totalsOf(store, organizationId)).toEqual({ 'accepted error': 7n });
      expect(await store.takeBack({ ...ends, handledUntil: 6n })).toBe(true);
      expect(await partition.position(store)).toBe(5n);
    });

    test('it is taken back by the epoch where that is known, wherever the log says that it was', async () => {
      const store = currentStore();
      const partition = new TestPartition();
      const { group, topicId } = partition;
      const position = () => store.position(group, topicId, 0);
      const events = (count: number) => Array.from({ length: count }, () => newEvent(newProject()));
      await store.apply({ ...partition.nextEvents(events(5)), epoch: 1 });
      expect(await position()).toEqual({ offset: 5n, epoch: 1 });
      // Behind the last record there may be what is none: the log counts that, too.
      const lost = { group, topicId, partition: 0, offset: 3n, handledUntil: 6n, epoch: 1 };
      expect(await store.takeBack(lost)).toBe(true);
      expect(await position()).toEqual({ offset: 3n, epoch: undefined });
      const others = new TestPartition(partition);
      await store.apply({ ...others.nextEvents(events(6)), epoch: 2 });
      // Said by one that stood still meanwhile.
      expect(await store.takeBack(lost)).toBe(true);
      expect(await position()).toEqual({ offset: 6n, epoch: 2 });
      // As versions do that know no epochs.
      await currentSpace().execute(`update log_positions set next_offset = 7 where topic_id = '${topicId}'`);
      expect(await position()).toEqual({ offset: 7n, epoch: undefined });
      await store.apply(others.nextEvents(events(2)));
      expect(await position()).toEqual({ offset: 8n, epoch: undefined });
    });

    test('a store that was opened to be read sees all, and applies nothing', async () => {
      const event = newEvent(newProject());
      await save(currentStore(), event);
      const reader = await currentSpace().open({ readOnly: true });
      await expectStored(reader, event);
      await expect(save(reader, newEvent(newProject()))).rejects.toThrow(/opened to be read/);
      await expect(reader.deleteExpired(0)).rejects.toThrow(/opened to be read/);
      const lost = { group: 'events', topicId: 'a', partition: 0, offset: 0n, handledUntil: 1n };
      await expect(reader.takeBack(lost)).rejects.toThrow(/opened to be read/);
      await reader.close();
    });
  });
}
