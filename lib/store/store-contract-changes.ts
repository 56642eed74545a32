import { describe, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { MAX_CHANGED_KEYS, RETAINED_CHANGES, type Store } from './store.ts';
import { ACTOR, firstKey, newOrganization, newProject, newUser, type StoreSpace } from './store-harness.ts';

export function describeChangeLog(getStore: () => Store, getSpace: () => StoreSpace): void {
  describe('the change log', () => {
    test('names the keys of what changed, and only what changed', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const other = await newProject(store);
      const cursor = await store.changes.cursor();
      expect(await store.changes.since(cursor)).toEqual({ kind: 'changes', publicKeys: [], cursor, more: false });
      await newUser(store);
      expect((await follow(store, cursor)).publicKeys).toEqual([]);

      const next = await store.keys.rotate(ACTOR, project.id, key.publicKey);
      const rotated = await follow(store, cursor);
      expect(rotated.publicKeys.sort()).toEqual([key.publicKey, next.publicKey].sort());
      expect((await follow(store, rotated.cursor)).publicKeys).toEqual([]);

      const second = await store.projects.create(ACTOR, organization.id, { name: 'Second' });
      const third = await firstKey(store, second.id);
      const { cursor: later } = await follow(store, rotated.cursor);
      await store.organizations.update(ACTOR, organization.id, { name: 'New' });
      const all = await follow(store, later);
      expect(all.publicKeys.sort()).toEqual([key.publicKey, next.publicKey, third.publicKey].sort());
      expect(all.publicKeys).not.toContain(other.key.publicKey);
    });

    test('is kept for those who come back, and read in pieces', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const cursor = await store.changes.cursor();
      await getSpace().execute(manyChanges(organization.id, project.id, 1_200));
      const again = await getSpace().open();
      const { publicKeys, pieces } = await follow(again, cursor);
      await again.close();
      expect({ publicKeys, pieces }).toEqual({ publicKeys: [key.publicKey], pieces: 3 });
    });

    test('says reset where it does not know', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      const cursor = await store.changes.cursor();
      const [history] = cursor.split('.');
      const strange = [
        '',
        'x',
        `${history}.`,
        `${history}.9999999999999999999`,
        `${history}.999999999999`,
        `${crypto.randomUUID()}.1`,
      ];
      for (const each of strange) {
        expect(await store.changes.since(each)).toEqual({ kind: 'reset', cursor });
      }
      await getSpace().execute(`update store_state set number = number + ${RETAINED_CHANGES}`);
      expect((await store.changes.since(cursor)).kind).toBe('changes');
      await store.projects.update(ACTOR, organization.id, project.id, { name: 'One more' });
      expect(await store.changes.since(cursor)).toEqual({ kind: 'reset', cursor: await store.changes.cursor() });
      const rows = await getSpace().execute('select count(*) as kept from changes');
      expect(Number(rows[0]?.['kept'])).toBe(1);
    });

    test('says reset where a change is of more keys than it names', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      await getSpace().execute(manyKeys(project.id, MAX_CHANGED_KEYS));
      const cursor = await store.changes.cursor();
      await store.organizations.update(ACTOR, organization.id, { name: 'Large' });
      expect(await store.changes.since(cursor)).toEqual({ kind: 'reset', cursor: await store.changes.cursor() });
    });

    test('tells listeners of this process and of others', async () => {
      const store = getStore();
      const other = await getSpace().open();
      const { organization, project, key } = await newProject(store);
      const cursor = await store.changes.cursor();
      const followers = [new Follower(store, cursor), new Follower(other, cursor)];
      await store.projects.update(ACTOR, organization.id, project.id, { name: 'New' });
      await until('both know', () => followers.every(({ keys }) => keys.has(key.publicKey)));
      await Promise.all(followers.map((follower) => follower.end()));
      await other.close();
    });

    test('misses nothing of many writers', async () => {
      const store = getStore();
      const others = await Promise.all([getSpace().open(), getSpace().open(), getSpace().open()]);
      const cursor = await store.changes.cursor();
      const follower = new Follower(store, cursor);
      const made = await Promise.all(
        others.map(async (writer) => {
          const { id } = await newOrganization(writer);
          const keys: string[] = [];
          for (let index = 0; index < 15; index++) {
            const project = await writer.projects.create(ACTOR, id, { name: `Project ${index}` });
            keys.push((await firstKey(writer, project.id)).publicKey);
          }
          return keys;
        }),
      );
      const all = made.flat();
      await until('all are seen', () => all.every((key) => follower.keys.has(key)));
      await follower.end();
      await Promise.all(others.map((writer) => writer.close()));
    });
  });
}

async function follow(store: Store, from: string): Promise<{ publicKeys: string[]; cursor: string; pieces: number }> {
  const publicKeys = new Set<string>();
  let cursor = from;
  for (let pieces = 1; ; pieces++) {
    const changes = await store.changes.since(cursor);
    if (changes.kind === 'reset') throw new Error('reset');
    for (const key of changes.publicKeys) publicKeys.add(key);
    cursor = changes.cursor;
    if (!changes.more) return { publicKeys: [...publicKeys], cursor, pieces };
  }
}

/** Reads the log whenever it is told to, as a watcher of a service does. */
class Follower {
  readonly keys = new Set<string>();
  #reading = Promise.resolve();
  readonly #stop: () => void;

  constructor(store: Store, from: string) {
    let cursor = from;
    const read = async () => {
      const next = await follow(store, cursor);
      for (const key of next.publicKeys) this.keys.add(key);
      cursor = next.cursor;
    };
    this.#stop = store.changes.onChange(() => {
      this.#reading = this.#reading.then(read);
    });
  }

  end(): Promise<void> {
    this.#stop();
    return this.#reading;
  }
}

/** As that many mutations would leave it. */
function manyChanges(organizationId: bigint, projectId: bigint, count: number): string {
  return `with recursive counted(n) as (select 1 union all select n + 1 from counted where n < ${count})
    insert into changes (number, organization_id, project_id)
    select number + n, ${organizationId}, ${projectId} from counted, store_state;
    update store_state set number = number + ${count}`;
}

function manyKeys(projectId: bigint, count: number): string {
  return `with recursive counted(n) as (select 1 union all select n + 1 from counted where n < ${count})
    insert into project_keys (id, project_id, public_key, name, state, created_ms, updated_ms, version)
    select (select max(id) from project_keys) + n, ${projectId}, 'many' || n, '', 'active', 0, 0, 0 from counted`;
}
