import { createHash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { openPostgres } from '#lib/store/postgres-database.ts';
import { createStore } from '#lib/store/sql-store.ts';
import { query, startPostgres } from '../test/support/postgres.ts';

// `node bench/config-lookup.ts [projects]`: how long PostgreSQL takes to say what 500 random keys are about. It starts a
// PostgreSQL of its own with what a small server has, fills it, and asks: first with nothing in PostgreSQL's memory (it is
// restarted; the machine's page cache stays), then again. Needs 1.5 GB of disk for 1,000,000 projects.

const PROJECTS = Number(process.argv[2] ?? 1_000_000);
const PROJECTS_AN_ORGANIZATION = 100;
const KEYS_AT_ONCE = 500;
const COLD_ROUNDS = 200;
const WARM_ROUNDS = 400;
/** Prime, and no divisor of the rounds: keys come from all over the table, and none comes twice in the cold rounds. */
const STEP = 999_983n;

const server = await startPostgres({ settings: ['shared_buffers=512MB', 'max_wal_size=4GB'] });
try {
  const url = await server.createDatabase();
  const store = createStore(await openPostgres({ url }));
  const startedMs = performance.now();
  for (const statement of fillStatements()) await query(url, statement, [], 600_000);
  const [size] = await query(url, 'select pg_size_pretty(pg_database_size(current_database())) as size');
  process.stdout.write(
    `${PROJECTS} projects, ${size?.['size']}, filled in ${((performance.now() - startedMs) / 1_000).toFixed(0)} s\n`,
  );
  await server.restart();
  // The connection, not the lookup.
  await store.organizations.list({ pageSize: 1 });
  let next = 1n;
  const round = async () => {
    const keys = Array.from({ length: KEYS_AT_ONCE }, () => {
      next = (next + STEP) % BigInt(PROJECTS);
      return publicKey(next + 1n);
    });
    const fromMs = performance.now();
    const configs = await store.configs.get(keys);
    const tookMs = performance.now() - fromMs;
    if (configs.size !== KEYS_AT_ONCE) throw new Error(`${configs.size} of ${KEYS_AT_ONCE} keys were found`);
    return tookMs;
  };
  report('after a restart', await timesOf(COLD_ROUNDS, round));
  report('later', await timesOf(WARM_ROUNDS, round));
  await store.close();
} finally {
  await server.stop();
}

async function timesOf(rounds: number, round: () => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < rounds; index++) times.push(await round());
  return times;
}

function report(name: string, times: number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(1);
  process.stdout.write(
    `${name}: ${sorted.length} lookups of ${KEYS_AT_ONCE} keys, first ${(times[0] ?? 0).toFixed(1)} ms, ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms\n`,
  );
}

/** The key of a project, as `md5(id)` has it. */
function publicKey(id: bigint): string {
  return createHash('md5').update(`${id}`).digest('hex');
}

/** As mutations would leave it, but in a minute. One project in ten has settings of its own. */
function fillStatements(): string[] {
  const organizations = Math.ceil(PROJECTS / PROJECTS_AN_ORGANIZATION);
  const settings = (own: string, otherwise: string) => `case when n % 10 = 0 then '${own}' else '${otherwise}' end`;
  return [
    `insert into organizations
      select n, 'org-' || n, 'Organization ' || n, 'active', 'local',
        '[{"id":"all","limit":"1000000","windowSec":3600,"reasonCode":"organization"}]', 0, 0, 1
      from generate_series(1, ${organizations}) n`,
    `insert into projects
      select n, (n - 1) / ${PROJECTS_AN_ORGANIZATION} + 1, 'project-' || n, 'Project ' || n, 'javascript', 'active', '["*"]',
        ${settings('{"localhost":true,"webCrawlers":true,"legacyBrowsers":["ie9","safari_pre_6"]}', '{}')},
        ${settings('{"scrubData":true,"scrubDefaults":true,"sensitiveFields":["order_id"]}', '{"scrubData":true,"scrubDefaults":true}')},
        ${settings('[{"id":"errors","categories":["error"],"limit":"1000","windowSec":60}]', '[]')}, 90, 0, 0, 1, 1
      from generate_series(1, ${PROJECTS}) n`,
    `insert into project_keys
      select n, n, md5(n::text), 'Default', 'active', null, 0, 0, 1 from generate_series(1, ${PROJECTS}) n`,
    'update store_state set number = 1',
    'vacuum analyze',
  ];
}
