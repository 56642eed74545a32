import { sql } from 'kysely';
import { describe, expect, test } from 'vitest';
import { SchemaTooNewError, StoreUnavailableError } from '#lib/sql/database-errors.ts';
import type { Migration } from '#lib/sql/migrate.ts';
import { MIGRATIONS } from './migrations.ts';
import type { StoreContractOptions } from './store-harness.ts';

const FIRST = {
  organization: { slug: 'development', name: 'Development', region: 'local' },
  project: { slug: 'app', name: 'App' },
  token: { name: 'Development', scopes: ['streams:start'] },
};

export function describeStarts({ newSpace }: StoreContractOptions): void {
  describe('starts', () => {
    test('ten at once make one schema and one of everything', async () => {
      await using space = await newSpace();
      const stores = await Promise.all(Array.from({ length: 10 }, () => space.open()));
      const made = await Promise.all(stores.map((store) => store.bootstrap(FIRST)));
      const secrets = made.flatMap(({ secret }) => secret ?? []);
      expect(secrets).toHaveLength(1);
      expect(new Set(made.map(({ key }) => key?.publicKey)).size).toBe(1);
      const [store] = stores;
      expect(made[0]).toMatchObject({
        organization: { id: 1n, slug: 'development' },
        project: { id: 1n, slug: 'app' },
      });
      expect((await store?.organizations.list({}))?.items).toHaveLength(1);
      expect(await store?.apiTokens.authenticate(secrets[0] ?? '')).toMatchObject({ organizationId: 1n });
      await Promise.all(stores.map((each) => each.close()));
    });

    test('a later start finds what the first one made, as it is by then', async () => {
      await using space = await newSpace();
      const first = await space.open();
      const made = await first.bootstrap(FIRST);
      await first.keys.rotate('system', 1n, made.key?.publicKey ?? '');
      await first.close();
      const store = await space.open();
      const again = await store.bootstrap(FIRST);
      expect(again).toMatchObject({ organization: { id: 1n }, project: { id: 1n }, key: { id: 2n } });
      expect(again.secret).toBeUndefined();
      await store.close();
    });

    test('a newer schema is refused and left alone', async () => {
      await using space = await newSpace();
      await (await space.open()).close();
      await space.execute('insert into schema_versions (version, applied_ms) values (1000, 0)');
      const opening = space.open();
      await expect(opening).rejects.toThrow(SchemaTooNewError);
      await expect(opening).rejects.toThrow(/schema 1000, this version knows up to \d/);
      await space.execute('delete from schema_versions where version = 1000');
      const store = await space.open();
      expect((await store.bootstrap(FIRST)).secret).toBeDefined();
      await store.close();
    });

    test('a migration that fails leaves nothing behind, and the next start goes on', async () => {
      await using space = await newSpace();
      const table: Migration = async (db) => void (await sql`create table later (id int)`.execute(db as never));
      const broken: Migration = async (db, kind) => {
        await table(db, kind);
        throw new Error('broken');
      };
      await expect(space.open([...MIGRATIONS, broken])).rejects.toThrow('broken');
      const versions = async () => (await space.execute('select version from schema_versions')).length;
      expect(await versions()).toBe(MIGRATIONS.length);
      const stores = await Promise.all([1, 2, 3].map(() => space.open([...MIGRATIONS, table])));
      expect(await versions()).toBe(MIGRATIONS.length + 1);
      expect(await space.execute('select * from later')).toEqual([]);
      await Promise.all(stores.map((store) => store.close()));
    });

    test('a closed store says that it is away', async () => {
      await using space = await newSpace();
      const store = await space.open();
      await store.ping(5_000);
      const late = [store.organizations.create('system', { name: 'In time', region: '' })];
      await Promise.all([store.close(), store.close()]);
      await Promise.all(late);
      await expect(store.ping(5_000)).rejects.toThrow(StoreUnavailableError);
      await expect(store.organizations.list({})).rejects.toThrow(StoreUnavailableError);
    });
  });
}
