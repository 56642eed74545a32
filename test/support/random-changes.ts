import { writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import process from 'node:process';
import { openStore } from '#lib/store/open-store.ts';
import type { Organization, Project, ProjectKey } from '#lib/store/records.ts';
import type { Store } from '#lib/store/store.ts';

/**
 * A program that changes a store at random until it has done as many changes as asked, or is killed. Before each change
 * it says on stdout what it is about to do, and afterwards, once the store has acknowledged it, what came of it; each line
 * is with the reader before the next step begins.
 */
export interface RandomChangesOptions {
  readonly databaseUrl: string;
  readonly dataDir: string;
  readonly count: number;
  readonly seed: number;
}

export type ChangeLine =
  | { readonly kind: 'ready' }
  /** Of a resource by its path; `name` is what it will have. */
  | { readonly kind: 'begin'; readonly path: string; readonly name: string }
  | {
      readonly kind: 'done';
      readonly path: string;
      readonly name: string;
      readonly etag: string;
      readonly state: string;
    };

if (process.argv[1] === import.meta.filename) {
  const options = JSON.parse(process.argv[2] ?? '{}') as RandomChangesOptions;
  const store = await openStore(options);
  // What Node has compiled: killed, it would keep none of it.
  flushCompileCache();
  say({ kind: 'ready' });
  await changeAtRandom(store, options);
  await store.close();
}

interface World {
  readonly organizations: Organization[];
  readonly projects: Project[];
  readonly keys: ProjectKey[];
}

async function changeAtRandom(store: Store, { count, seed }: RandomChangesOptions): Promise<void> {
  const random = randomFrom(seed);
  const world: World = { organizations: (await store.organizations.list({})).items, projects: [], keys: [] };
  for (const { id } of world.organizations) world.projects.push(...(await store.projects.list(id, {})).items);
  for (const { id } of world.projects) world.keys.push(...(await store.keys.list(id, {})).items);
  for (let index = 0; index < count; index++) {
    await change(store, world, `change ${seed} ${index}`, random);
  }
}

async function change(store: Store, world: World, name: string, random: () => number): Promise<void> {
  const organization = pick(world.organizations, random);
  const project = pick(world.projects, random);
  const key = pick(world.keys, random);
  const state = random() < 0.3 ? 'disabled' : 'active';
  const dice = random();
  if (organization === undefined || dice < 0.02) {
    const path = 'organizations/new';
    say({ kind: 'begin', path, name });
    const made = await store.organizations.create('system', { name, region: '' });
    world.organizations.push(made);
    done(`organizations/${made.id}`, made);
  } else if (project === undefined || dice < 0.1) {
    say({ kind: 'begin', path: 'projects/new', name });
    const made = await store.projects.create('system', organization.id, { name });
    world.projects.push(made);
    world.keys.push(...(await store.keys.list(made.id, {})).items);
    done(`projects/${made.organizationId}/${made.id}`, made);
  } else if (key === undefined || dice < 0.2) {
    say({ kind: 'begin', path: 'keys/new', name });
    const made = await store.keys.create('system', project.id, { name });
    world.keys.push(made);
    done(`keys/${made.projectId}/${made.publicKey}`, made);
  } else if (dice < 0.3) {
    const path = `organizations/${organization.id}`;
    say({ kind: 'begin', path, name });
    done(path, await store.organizations.update('system', organization.id, { name, state }));
  } else if (dice < 0.65) {
    const path = `projects/${project.organizationId}/${project.id}`;
    say({ kind: 'begin', path, name });
    done(path, await store.projects.update('system', project.organizationId, project.id, { name, state }));
  } else {
    const path = `keys/${key.projectId}/${key.publicKey}`;
    say({ kind: 'begin', path, name });
    done(path, await store.keys.update('system', key.projectId, key.publicKey, { name, state }));
  }
}

function done(path: string, { name, etag, state }: { name: string; etag: string; state: string }): void {
  say({ kind: 'done', path, name, etag, state });
}

function say(line: ChangeLine): void {
  writeSync(process.stdout.fd, `${JSON.stringify(line)}\n`);
}

function pick<T>(items: readonly T[], random: () => number): T | undefined {
  return items[Math.floor(random() * items.length)];
}

/** The same numbers for the same seed (mulberry32), so that a failure can be looked at again. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
