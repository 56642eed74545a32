import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { DAY_MS, dayOf } from './days.ts';
import type { EventStore, NewAttachment, NewEvent } from './event-store.ts';
import {
  expectStored,
  newAttachment,
  newEvent,
  newProject,
  readAll,
  save,
  TestPartition,
  totalsOf,
} from './event-store-harness.ts';

export function describeAttachments(currentStore: () => EventStore): void {
  describe('attachments and reports', () => {
    test('small ones come with their event, an empty one too', async () => {
      const store = currentStore();
      const data = randomBytes(2_500_000);
      const attachments = [newAttachment(), newAttachment({ data: Buffer.alloc(0) }), newAttachment({ data })];
      const event = newEvent({ ...newProject(), attachments });
      await save(store, event);
      await expectStored(store, event);
      for (const { id, data } of attachments) {
        const found = await readAll(store, event.projectId, event.eventId, id);
        expect(found?.equals(data ?? Buffer.alloc(0))).toBe(true);
      }
      expect(await readAll(store, event.projectId, event.eventId, 'none')).toBeUndefined();
      expect(await readAll(store, event.projectId + 1n, event.eventId, attachments[0]?.id ?? '')).toBeUndefined();
      expect(await totalsOf(store, event.organizationId)).toEqual({
        'accepted error': 1n,
        'accepted attachment': 2_500_009n,
        'accepted attachment_item': 3n,
      });
    });

    test('large ones come in chunks before it, in other batches and on another day too', async () => {
      const store = currentStore();
      const partition = new TestPartition();
      const { attachment, data } = chunked(7);
      const receivedMs = (dayOf(Date.now()) - 1) * DAY_MS;
      const event = newEvent({ ...newProject(), receivedMs, attachments: [attachment] });
      const early = { ...event, receivedMs: receivedMs - 1 };
      for (const [index, batch] of [data.slice(0, 3), data.slice(3)].entries()) {
        const owner = index === 0 ? early : event;
        await store.apply(partition.next(...chunksOf(owner, attachment, batch, index * 3)));
      }
      expect(await readAll(store, event.projectId, event.eventId, attachment.id)).toBeUndefined();
      await store.apply(partition.nextEvents([event]));
      await expectStored(store, event);
      expect(await readAll(store, event.projectId, event.eventId, attachment.id)).toEqual(Buffer.concat(data));
      expect(await totalsOf(store, event.organizationId)).toEqual({
        'accepted error': 1n,
        'accepted attachment': 700n,
        'accepted attachment_item': 1n,
      });
    });

    test('one that comes by itself belongs to its event, before it or after it', async () => {
      const store = currentStore();
      const partition = new TestPartition();
      const event = newEvent(newProject());
      const [before, { attachment: after, data }] = [newAttachment(), chunked(2)];
      await store.apply(partition.next({ kind: 'attachment', attachment: { ...event, ...before } }));
      await store.apply(partition.nextEvents([event]));
      await store.apply(
        partition.next(...chunksOf(event, after, data), { kind: 'attachment', attachment: { ...event, ...after } }),
      );
      await expectStored(store, { ...event, attachments: [before, after] });
      expect(await readAll(store, event.projectId, event.eventId, before.id)).toEqual(before.data);
      expect(await readAll(store, event.projectId, event.eventId, after.id)).toEqual(Buffer.concat(data));
      expect(await totalsOf(store, event.organizationId)).toEqual({
        'accepted error': 1n,
        'accepted attachment': 209n,
        'accepted attachment_item': 2n,
      });
    });

    test("a duplicate's go with it, and the first one's stay", async () => {
      const store = currentStore();
      const partition = new TestPartition();
      const [first, second] = [chunked(2), chunked(3)];
      const event = newEvent({ ...newProject(), attachments: [first.attachment] });
      const again = {
        ...event,
        receivedMs: event.receivedMs + 1,
        attachments: [second.attachment, newAttachment()],
      };
      await store.apply(partition.next(...chunksOf(event, first.attachment, first.data), { kind: 'event', event }));
      await store.apply(
        partition.next(...chunksOf(event, second.attachment, second.data), { kind: 'event', event: again }),
      );
      await expectStored(store, event);
      const { projectId, eventId } = event;
      expect(await readAll(store, projectId, eventId, first.attachment.id)).toEqual(Buffer.concat(first.data));
      expect(await readAll(store, projectId, eventId, second.attachment.id)).toBeUndefined();
      expect(await totalsOf(store, event.organizationId)).toEqual({
        'accepted error': 1n,
        'accepted attachment': 200n,
        'accepted attachment_item': 1n,
        'invalid duplicate error': 1n,
        'invalid duplicate attachment': 309n,
        'invalid duplicate attachment_item': 2n,
      });
    });

    test('what was logged twice, chunks and all, is there once', async () => {
      const store = currentStore();
      const { attachment, data } = chunked(3);
      const event = newEvent({ ...newProject(), attachments: [attachment, newAttachment()] });
      const effects = [...chunksOf(event, attachment, data), { kind: 'event', event } as const];
      const partition = new TestPartition();
      await store.apply(partition.next(...effects));
      await store.apply(partition.next(...effects));
      await store.apply(partition.next({ kind: 'attachment', attachment: { ...event, ...attachment } }));
      await expectStored(store, event);
      expect(await readAll(store, event.projectId, event.eventId, attachment.id)).toEqual(Buffer.concat(data));
      const totals = await totalsOf(store, event.organizationId);
      expect(totals).toEqual({
        'accepted error': 1n,
        'accepted attachment': 309n,
        'accepted attachment_item': 2n,
        'invalid duplicate attachment': 300n,
        'invalid duplicate attachment_item': 1n,
      });
    });

    test('reports are kept and counted as feedback, the same one once', async () => {
      const store = currentStore();
      const event = newEvent(newProject());
      const [report, other] = ['{"comments":"broken"}', '{"comments":"still"}'].map((body) => ({
        ...event,
        body: Buffer.from(body),
      }));
      if (report === undefined || other === undefined) throw new Error('there are two');
      const partition = new TestPartition();
      await store.apply(partition.next({ kind: 'user_report', report }, { kind: 'user_report', report: other }));
      await store.apply(partition.next({ kind: 'user_report', report }));
      expect(await totalsOf(store, event.organizationId)).toEqual({
        'accepted feedback': 2n,
        'invalid duplicate feedback': 1n,
      });
    });
  });
}

/** An attachment that came in so many chunks of 100 bytes. */
function chunked(count: number): { attachment: NewAttachment; data: Buffer[] } {
  const data = Array.from({ length: count }, () => randomBytes(100));
  return { attachment: newAttachment({ data: undefined, sizeBytes: count * 100 }), data };
}

function chunksOf(owner: NewEvent, { id }: NewAttachment, data: readonly Uint8Array[], first = 0) {
  return data.map((bytes, index) => {
    const chunk = { ...owner, attachmentId: id, index: first + index, data: bytes };
    return { kind: 'attachment_chunk', chunk } as const;
  });
}
