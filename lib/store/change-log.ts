import type { Kysely } from 'kysely';
import type { Access } from './access.ts';
import type { ChangeHints } from './change-hints.ts';
import { MAX_NUMBER } from './identifiers.ts';
import type { ChangesResult } from './records.ts';
import type { Schema } from './schema.ts';
import { type ChangeLog, MAX_CHANGED_KEYS, RETAINED_CHANGES } from './store.ts';

const CHANGES_AT_ONCE = 500;
const CURSOR = /^([0-9a-f-]{36})\.([0-9]{1,19})$/;

export function createChangeLog(access: Access, hints: ChangeHints): ChangeLog {
  return {
    cursor: async () => {
      const { history, number } = await access.read((db) =>
        db.selectFrom('store_state').select(['history', 'number']).executeTakeFirstOrThrow(),
      );
      return cursorOf(history, number);
    },
    since: (cursor) => changesSince(access, cursor),
    onChange: (listener) => hints.onChange(listener),
  };
}

async function changesSince(access: Access, cursor: string): Promise<ChangesResult> {
  const seen = parseCursor(cursor);
  // One query sees one moment: between two, the log could be trimmed.
  const rows = await access.read((db) =>
    db
      .selectFrom('store_state as s')
      .leftJoin('changes as c', (join) => join.on('c.number', '>', seen?.number ?? MAX_NUMBER))
      .select(['s.history', 's.number as last', 'c.number', 'c.organization_id', 'c.project_id'])
      .orderBy('c.number')
      .limit(CHANGES_AT_ONCE)
      .execute(),
  );
  const [state] = rows;
  if (state === undefined) throw new Error('the store has no state');
  const { history, last } = state;
  const reset = { kind: 'reset', cursor: cursorOf(history, last) } as const;
  const isKnown = seen?.history === history && seen.number <= last && seen.number >= last - RETAINED_CHANGES;
  if (!isKnown) return reset;

  const projectIds = new Set<bigint>();
  const organizationIds = new Set<bigint>();
  for (const { organization_id, project_id } of rows) {
    if (project_id !== null) projectIds.add(project_id);
    else if (organization_id !== null) organizationIds.add(organization_id);
  }
  // Keys are never deleted: those that there are now include all that the change was about.
  const publicKeys = await keysOf(access, [...projectIds], [...organizationIds]);
  if (publicKeys.length > MAX_CHANGED_KEYS) return reset;
  const more = rows.length === CHANGES_AT_ONCE;
  const upTo = more ? (rows.at(-1)?.number ?? last) : last;
  return { kind: 'changes', publicKeys, cursor: cursorOf(history, upTo), more };
}

async function keysOf(
  access: Access,
  projectIds: readonly bigint[],
  organizationIds: readonly bigint[],
): Promise<string[]> {
  const limit = MAX_CHANGED_KEYS + 1;
  const keys = (query: (db: Kysely<Schema>) => Promise<{ public_key: string }[]>) => access.read(query);
  const [ofProjects, ofOrganizations] = await Promise.all([
    projectIds.length === 0
      ? []
      : keys((db) =>
          db
            .selectFrom('project_keys')
            .select('public_key')
            .where('project_id', 'in', projectIds)
            .limit(limit)
            .execute(),
        ),
    organizationIds.length === 0
      ? []
      : keys((db) =>
          db
            .selectFrom('project_keys')
            .innerJoin('projects', 'projects.id', 'project_keys.project_id')
            .select('public_key')
            .where('projects.organization_id', 'in', organizationIds)
            .limit(limit)
            .execute(),
        ),
  ]);
  return [...new Set([...ofProjects, ...ofOrganizations].map(({ public_key }) => public_key))];
}

function cursorOf(history: string, number: bigint): string {
  return `${history}.${number}`;
}

/** Undefined: none of ours. */
function parseCursor(cursor: string): { readonly history: string; readonly number: bigint } | undefined {
  const [, history, number] = CURSOR.exec(cursor) ?? [];
  if (history === undefined || number === undefined || BigInt(number) > MAX_NUMBER) return undefined;
  return { history, number: BigInt(number) };
}
