import type { Access } from './access.ts';
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
    get: (name) =>
      access.read((db) => db.selectFrom('regions').selectAll().where('name', '=', name).executeTakeFirst()),
    list: () => access.read((db) => db.selectFrom('regions').selectAll().orderBy('name').execute()),
  };
}
