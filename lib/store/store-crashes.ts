import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type ChangeLine, type RandomChangesOptions, randomFrom } from '../../test/support/random-changes.ts';
import { until } from '../../test/support/until.ts';
import type { Store } from './store.ts';
import { everyPage, type StoreSpace } from './store-harness.ts';

const PROGRAM = fileURLToPath(new URL('../../test/support/random-changes.ts', import.meta.url));
const CHANGES = 1_000;
const MAX_CHANGES_A_LIFE = 200;
/** Of what hangs: beside others it takes most of a minute. */
const TIMEOUT_MS = 180_000;

export interface CrashOptions {
  readonly newSpace: () => Promise<StoreSpace & Pick<RandomChangesOptions, 'databaseUrl' | 'dataDir'>>;
}

type Done = ChangeLine & { readonly kind: 'done' };
type Begun = ChangeLine & { readonly kind: 'begin' };

/** Guarantees 1 to 5 of store.ts, for a process that dies in the middle of anything. */
export function describeCrashes(name: string, { newSpace }: CrashOptions): void {
  describe(`crashes: ${name}`, () => {
    test(
      'of 1,000 changes, killed again and again, all that was acknowledged is there, and watchers know it',
      async () => {
        await using space = await newSpace();
        const seed = Date.now() & 0xffff;
        const random = randomFrom(seed);
        const store = await space.open();
        const watcher = new Watcher(store);
        await watcher.start();
        const acknowledged = new Map<string, Done>();
        const { databaseUrl, dataDir } = space;
        let changes = 0;
        for (let life = 1; changes < CHANGES; life++) {
          const untilKilled = Math.ceil(random() * MAX_CHANGES_A_LIFE);
          const options = { databaseUrl, dataDir, count: CHANGES, seed: seed + life };
          const { done, begun } = await liveAndDie(options, untilKilled);
          changes += done.length;
          for (const line of done) acknowledged.set(line.path, line);
          await expectAcknowledged(store, acknowledged, begun);
          await expectConsistent(space);
        }
        await watcher.expectUpToDate();
        watcher.end();
        await store.close();
      },
      TIMEOUT_MS,
    );
  });
}

/** Runs the program until it has acknowledged so many changes, and kills it in whatever it is doing then. */
async function liveAndDie(
  options: RandomChangesOptions,
  untilKilled: number,
): Promise<{ done: Done[]; begun: Begun | undefined }> {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const done: Done[] = [];
  let begun: Begun | undefined;
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as ChangeLine;
    if (line.kind === 'begin') begun = line;
    if (line.kind !== 'done') continue;
    done.push(line);
    begun = undefined;
    if (done.length === untilKilled) child.kill('SIGKILL');
  }
  await exited;
  expect(child.signalCode).toBe('SIGKILL');
  return { done, begun };
}

/** Each resource is as it was last acknowledged; the one that was being changed may also be as it was to become. */
async function expectAcknowledged(
  store: Store,
  acknowledged: Map<string, Done>,
  begun: Begun | undefined,
): Promise<void> {
  for (const [path, line] of acknowledged) {
    const found = await find(store, path);
    if (found !== undefined && begun?.path === path && found.name === begun.name) {
      // It happened, and nobody was told: from now on it counts.
      acknowledged.set(path, { ...line, name: found.name, state: found.state, etag: found.etag });
      continue;
    }
    const { name, state, etag } = line;
    expect(found, path).toMatchObject({ name, state, etag });
  }
}

async function find(store: Store, path: string) {
  const [kind, first = '', second = ''] = path.split('/');
  if (kind === 'organizations') return store.organizations.get(BigInt(first));
  if (kind === 'projects') return store.projects.get(BigInt(first), BigInt(second));
  return store.keys.get(BigInt(first), second);
}

/** Numbers, the audit log, the change log and the rows tell one story. */
async function expectConsistent(space: StoreSpace): Promise<void> {
  const [state] = await space.execute(`select number,
    (select count(*) from audit_log) as entries,
    (select max(id) from audit_log) as last_entry from store_state`);
  expect(state?.['entries']).toEqual(state?.['number']);
  expect(state?.['last_entry']).toEqual(state?.['number']);
  const wrong = await space.execute(`select 'organization' as what, o.id, o.version from organizations o
      where o.version <> (select max(number) from changes c where c.organization_id = o.id and c.project_id is null)
    union all select 'project', p.id, p.revision from projects p
      where p.revision <> (select max(number) from changes c where c.project_id = p.id)
        or p.organization_id not in (select id from organizations)
    union all select 'project without key', p.id, p.revision from projects p
      where not exists (select 1 from project_keys k where k.project_id = p.id)
    union all select 'key', k.id, k.version from project_keys k
      where k.version > (select revision from projects p where p.id = k.project_id)`);
  expect(wrong).toEqual([]);
}

/** What a relay would know: the configs of all keys that it heard of, asked for again whenever it is told. */
class Watcher {
  readonly #store: Store;
  readonly #known = new Map<string, string>();
  #cursor = '';
  #reading = Promise.resolve();
  #end = () => {};

  constructor(store: Store) {
    this.#store = store;
  }

  async start(): Promise<void> {
    this.#cursor = await this.#store.changes.cursor();
    this.#end = this.#store.changes.onChange(() => {
      this.#reading = this.#reading.then(() => this.#read());
    });
  }

  end(): void {
    this.#end();
  }

  async expectUpToDate(): Promise<void> {
    const keys: string[] = [];
    for (const { id } of (await everyPage((page) => this.#store.organizations.list(page), 1_000)).flat()) {
      for (const project of (await everyPage((page) => this.#store.projects.list(id, page), 1_000)).flat()) {
        const ofProject = await everyPage((page) => this.#store.keys.list(project.id, page), 1_000);
        keys.push(...ofProject.flat().map(({ publicKey }) => publicKey));
      }
    }
    const actual = new Map<string, string>();
    for (let from = 0; from < keys.length; from += 500) {
      for (const [key, config] of await this.#store.configs.get(keys.slice(from, from + 500))) {
        actual.set(key, textOf(config));
      }
    }
    expect(actual.size).toBe(keys.length);
    await until('the watcher knows all', async () => {
      await this.#reading;
      return this.#known.size === actual.size && keys.every((key) => this.#known.get(key) === actual.get(key));
    });
  }

  async #read(): Promise<void> {
    for (let more = true; more; ) {
      const changes = await this.#store.changes.since(this.#cursor);
      if (changes.kind === 'reset') throw new Error('reset');
      for (let from = 0; from < changes.publicKeys.length; from += 500) {
        const configs = await this.#store.configs.get(changes.publicKeys.slice(from, from + 500));
        for (const [key, config] of configs) this.#known.set(key, textOf(config));
      }
      this.#cursor = changes.cursor;
      more = changes.more;
    }
  }
}

function textOf(config: object): string {
  return JSON.stringify(config, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
}
