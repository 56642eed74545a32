import { describe, expect, test } from 'vitest';
import { type EventStore, SearchTooLongError } from './event-store.ts';
import {
  type EventStoreSpace,
  everyPage,
  newAttachment,
  newEvent,
  newProject,
  queryOf,
  save,
  storedOf,
  uniqueNumber,
} from './event-store-harness.ts';

const HOUR_MS = 3_600_000;

export function describeListing(currentStore: () => EventStore, currentSpace: () => EventStoreSpace): void {
  describe('listing', () => {
    test('newest first, of a project or of all of an organization, and of nobody else', async () => {
      const store = currentStore();
      const nowMs = Date.now();
      const [organizationId, first, second] = [uniqueNumber(), uniqueNumber(), uniqueNumber()];
      const events = Array.from({ length: 10 }, (_, index) =>
        newEvent({ organizationId, projectId: index % 2 === 0 ? first : second, receivedMs: nowMs - index * 1_000 }),
      );
      await save(
        store,
        ...events.toReversed(),
        newEvent({ organizationId: uniqueNumber(), projectId: uniqueNumber() }),
      );
      const listed = events.map((event) => {
        const { body: _, ...rest } = storedOf(event);
        return rest;
      });
      expect(await store.list(queryOf({ organizationId }))).toEqual({ events: listed, next: undefined });
      expect(await store.list(queryOf({ organizationId, projectId: second }))).toEqual({
        events: listed.filter(({ projectId }) => projectId === second),
        next: undefined,
      });
      const others = queryOf({ organizationId: uniqueNumber(), projectId: first });
      expect((await store.list(others)).events).toEqual([]);
    });

    test('each condition leaves out what does not meet it, and they add up', async () => {
      const store = currentStore();
      const whose = newProject();
      const startMs = Date.now() - HOUR_MS;
      const variants = [
        { level: 'fatal' },
        { release: '2.0' },
        { environment: 'staging' },
        { category: 'transaction' },
        { searchText: "100% sure_thing: it's ßtraße" },
        { level: 'fatal', environment: 'staging' },
      ] as const;
      const events = variants.map((variant, index) =>
        newEvent({ ...whose, title: `${index}`, receivedMs: startMs + index * 1_000, ...variant }),
      );
      await save(store, ...events);
      const titles = async (query: object) =>
        (await store.list(queryOf({ ...whose, ...query }))).events.map(({ title }) => title).toSorted();
      expect(await titles({ level: 'fatal' })).toEqual(['0', '5']);
      expect(await titles({ release: '2.0' })).toEqual(['1']);
      expect(await titles({ environment: 'staging' })).toEqual(['2', '5']);
      expect(await titles({ environment: 'staging', level: 'fatal' })).toEqual(['5']);
      expect(await titles({ category: 'transaction' })).toEqual(['3']);
      expect(await titles({ words: ['ErrOR', 'example'] })).toEqual(['0', '1', '2', '3', '5']);
      expect(await titles({ words: ['100%'] })).toEqual(['4']);
      expect(await titles({ words: ['sure_thing', "it's", 'SSTRASSE'] })).toEqual([]);
      expect(await titles({ words: ['sure_thing', "it's", 'ßtraße'] })).toEqual(['4']);
      expect(await titles({ words: ['sureXthing'] })).toEqual([]);
      expect(await titles({ fromMs: startMs + 1_000, toMs: startMs + 3_000 })).toEqual(['1', '2']);
      expect(await titles({ projectId: undefined, fromMs: startMs + 4_000, words: ['error'] })).toEqual(['5']);
      expect(await titles({ level: 'debug' })).toEqual([]);
    });

    test('pages have everything once, though events come all the time, many of them in the same ms', async () => {
      const store = currentStore();
      const whose = newProject();
      const nowMs = Date.now();
      const events = Array.from({ length: 95 }, (_, index) =>
        newEvent({ ...whose, projectId: whose.projectId + BigInt(index % 3), receivedMs: nowMs - (index % 4) }),
      );
      await save(store, ...events);
      for (const query of [queryOf({ ...whose, projectId: undefined, limit: 10 }), queryOf({ ...whose, limit: 7 })]) {
        const before = (await store.list({ ...query, limit: 1_000 })).events;
        const pages = await everyPage(store, query, () =>
          save(store, newEvent({ ...whose, receivedMs: Date.now() + 1 })),
        );
        expect(pages.slice(0, -1).every(({ length }) => length === query.limit)).toBe(true);
        expect(pages.flat()).toEqual(before);
      }
      const all = await store.list(queryOf({ ...whose, projectId: undefined, limit: events.length }));
      expect(new Set(all.events.map(({ eventId }) => eventId)).size).toBe(events.length);
    });

    test('the largest page there is, exactly full or not', async () => {
      const store = currentStore();
      const whose = newProject();
      const attachments = [newAttachment()];
      const nowMs = Date.now();
      const events = Array.from({ length: 1_000 }, (_, index) =>
        newEvent({ ...whose, receivedMs: nowMs - (index >> 4), attachments: index % 100 === 0 ? attachments : [] }),
      );
      await save(store, ...events);
      for (const query of [{ projectId: undefined }, { level: 'error' }, {}]) {
        const page = await store.list(queryOf({ ...whose, ...query, limit: 1_000 }));
        expect(page.next).toBeUndefined();
        expect(page.events.filter(({ attachments }) => attachments.length === 1)).toHaveLength(10);
        expect(new Set(page.events.map(({ eventId }) => eventId)).size).toBe(1_000);
        for (const limit of [500, 250]) {
          const pages = await everyPage(store, queryOf({ ...whose, ...query, limit }));
          expect(pages.map(({ length }) => length)).toEqual(Array(1_000 / limit).fill(limit));
          expect(pages.flat()).toEqual(page.events);
        }
      }
    });

    test('a rare word is found among thousands, page by page', async () => {
      const store = currentStore();
      const whose = newProject();
      const nowMs = Date.now();
      const events = Array.from({ length: 2_600 }, (_, index) =>
        newEvent({
          ...whose,
          receivedMs: nowMs - index,
          searchText: index % 650 === 649 ? 'a rare needle' : 'common hay',
        }),
      );
      await save(store, ...events);
      const rare = events.filter(({ searchText }) => searchText.includes('rare')).map(({ eventId }) => eventId);
      for (const projectId of [whose.projectId, undefined]) {
        const pages = await everyPage(store, queryOf({ ...whose, projectId, words: ['needle', 'rare'], limit: 3 }));
        expect(pages.map((page) => page.map(({ eventId }) => eventId))).toEqual([rare.slice(0, 3), rare.slice(3)]);
      }
    });

    test('a search that takes too long says so, and the next goes on', async () => {
      const whose = newProject();
      const searchText = 'hay '.repeat(4_000);
      const events = Array.from({ length: 1_500 }, () => newEvent({ ...whose, searchText }));
      await save(currentStore(), ...events);
      const hurried = await currentSpace().open({ searchDeadlineMs: 1 });
      const search = hurried.list(queryOf({ ...whose, words: ['needle'] }));
      await expect(search).rejects.toThrow(SearchTooLongError);
      await hurried.close();
      expect((await currentStore().list(queryOf({ ...whose, words: ['needle'] }))).events).toEqual([]);
    });

    test('what is asked for in characters that no text can have is found as it is kept', async () => {
      const store = currentStore();
      const whose = newProject();
      const odd = { release: 'a\0b', environment: 'c\ud800d', searchText: 'e\0f' };
      await save(store, newEvent({ ...whose, ...odd }), newEvent(whose));
      const { release, environment, searchText } = odd;
      for (const query of [{ release }, { environment }, { words: [searchText] }, { category: 'error', release }]) {
        expect((await store.list(queryOf({ ...whose, ...query }))).events).toHaveLength(1);
      }
      expect((await store.list(queryOf({ ...whose, level: '\0' }))).events).toEqual([]);
      expect(await store.readAttachment(whose.projectId, 'a'.repeat(32), '\0')).toBeUndefined();
    });

    test('times beyond what a database can keep are before everything, or behind it', async () => {
      const store = currentStore();
      const whose = newProject();
      await save(store, newEvent(whose));
      const count = async (query: object) => (await store.list(queryOf({ ...whose, ...query }))).events.length;
      expect(await count({ fromMs: -9e21, toMs: 9e21 })).toBe(1);
      expect(await count({ fromMs: 9e21 })).toBe(0);
      expect(await count({ toMs: -9e21, level: 'error' })).toBe(0);
    });

    test('attachments are listed with their events', async () => {
      const store = currentStore();
      const whose = newProject();
      const event = newEvent({ ...whose, attachments: [newAttachment(), newAttachment({ filename: 'b' })] });
      await save(store, event, newEvent(whose));
      const { events } = await store.list(queryOf(whose));
      expect(events.find(({ eventId }) => eventId === event.eventId)?.attachments).toEqual(storedOf(event).attachments);
      expect(events.map(({ attachments }) => attachments.length).toSorted()).toEqual([0, 2]);
    });
  });
}
