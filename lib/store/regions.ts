import type { Access } from './access.ts';
import { isStorable } from './identifiers.ts';
import type { Regions } from './store.ts';

export function createRegions(access: Access): Regions {
  return {
    put: (actor, { name, url }) =>
      access.mutate(actor, async (mutation) => {
        const { tx } = mutation;
        const row = await tx.selectFrom('regions').selectAll().where('name', '=', name).executeTakeFirst();
        if (row?.url === url) return row;
        const action = row === undefined ? 'region.create' : 'region.update';
        await mutation.record({ action, target: `regions/${name}`, fields: ['url'] });
        await tx
          .insertInto('regions')
          .values({ name, url })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ url }))
          .execute();
        return { name, url };
      }),
    get: async (name) => {
      if (!isStorable(name)) return undefined;
      return access.read((db) => db.selectFrom('regions').selectAll().where('name', '=', name).executeTakeFirst());
    },
    list: async () => {
      const regions = await access.read((db) => db.selectFrom('regions').selectAll().execute());
      // Not by the database, whose order depends on its locale.
      return regions.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}
