import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { SchemaTooNewError, StoreUnavailableError } from '#lib/sql/database-errors.ts';
import type { Migration } from '#lib/sql/migrate.ts';
import {
  type EventStoreContractOptions,
  expectStored,
  newEvent,
  newProject,
  queryOf,
  save,
  totalsOf,
} from './event-store-harness.ts';
import { EVENT_MIGRATIONS } from './migrations.ts';

export function describeStarts({ newSpace }: EventStoreContractOptions): void {
  describe('starts', () => {
    test('ten at once, some of them to read, make one schema', async () => {
      await using space = await newSpace();
      const stores = await Promise.all(
        Array.from({ length: 10 }, (_, index) => space.open({ readOnly: index % 3 === 0 })),
      );
      const event = newEvent(newProject());
      const news = await Promise.all(stores.flatMap((store, index) => (index % 3 === 0 ? [] : save(store, event))));
      expect(news.flat()).toEqual([event]);
      for (const store of stores) await expectStored(store, event);
      await Promise.all(stores.map((store) => store.close()));
    });

    test('what was saved is there after a restart', async () => {
      await using space = await newSpace();
      const event = newEvent(newProject());
      const store = await space.open();
      await save(store, event);
      await store.close();
      for (const readOnly of [true, false]) {
        const again = await space.open({ readOnly });
        await expectStored(again, event);
        expect(await totalsOf(again, event.organizationId)).toEqual({ 'accepted error': 1n });
        await again.close();
      }
    });

    test('a newer schema is refused and left alone', async () => {
      await using space = await newSpace();
      await (await space.open()).close();
      await space.execute('insert into event_schema_versions (version, applied_ms) values (1000, 0)');
      const opening = space.open();
      await expect(opening).rejects.toThrow(SchemaTooNewError);
      await expect(opening).rejects.toThrow(/schema 1000, this version knows up to \d/);
      await expect(space.open({ readOnly: true })).rejects.toThrow(SchemaTooNewError);
      await space.execute('delete from event_schema_versions where version = 1000');
      const store = await space.open();
      await store.ping(5_000);
      await store.close();
    });

    test('a migration that fails leaves nothing behind, and the next start goes on', async () => {
      await using space = await newSpace();
      const table: Migration = async (db) => void (await sql`create table later (id int)`.execute(db as never));
      const broken: Migration = async (db, kind) => {
        await table(db, kind);
        throw new Error('broken');
      };
      await expect(space.open({ migrations: [...EVENT_MIGRATIONS, broken] })).rejects.toThrow('broken');
      const versions = async () => (await space.execute('select version from event_schema_versions')).length;
      expect(await versions()).toBe(EVENT_MIGRATIONS.length);
      const migrations = [...EVENT_MIGRATIONS, table];
      const stores = await Promise.all([1, 2, 3].map(() => space.open({ migrations })));
      expect(await versions()).toBe(migrations.length);
      expect(await space.execute('select * from later')).toEqual([]);
      await Promise.all(stores.map((store) => store.close()));
    });

    test('a closed store ends what it began, and says that it is away', async () => {
      await using space = await newSpace();
      const store = await space.open();
      const event = newEvent(newProject());
      const late = save(store, event);
      await Promise.all([store.close(), store.close()]);
      expect(await late).toEqual([event]);
      await expect(store.ping(5_000)).rejects.toThrow(StoreUnavailableError);
      await expect(save(store, event)).rejects.toThrow(StoreUnavailableError);
      await expect(store.list(queryOf(event))).rejects.toThrow(StoreUnavailableError);
    });
  });
}
