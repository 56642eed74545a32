import { fork } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { GROUPS, INGEST_TOPICS } from '#lib/ingest/topics.ts';
import { openLog } from '#lib/log/open-log.ts';
import { logFile } from '#lib/log/sqlite-log-file.ts';
import { JsonApi } from '../test/support/json-api.ts';
import { startMonolith } from '../test/support/tideway.ts';
import type { Answers, Load } from './events-load.ts';
import { acceptedOf } from './events-outcomes.ts';
import { rssMb } from './events-threads.ts';

// `node bench/events-slow-log.ts [rate] [seconds]`: how events of 1.3 KB are answered while the log is slow: first as it is,
// then with its file locked for 2 s of every 3, then for so long that what may wait is full, and afterwards. All that was
// answered 200 must be stored at the end. Before and after it, node:http alone: what this machine does to any answer.

const RATE = Number(process.argv[2] ?? 1_000);
const SECONDS = Number(process.argv[3] ?? 20);
const LOCKED_MS = 2_000;
const FREE_MS = 1_000;
/** A fifth of the usual, so that it is full before the log counts as away. */
const QUEUE_BYTES = 12 * 1024 * 1024;
const SETTLED_DEADLINE_MS = 120_000;

const say = (text: string) => process.stdout.write(`${text}\n`);
const generator = fork(join(import.meta.dirname, 'events-load.ts'));
const monolith = await startMonolith({ RELAY_QUEUE_MAX_BYTES: String(QUEUE_BYTES) });
const { development, dir, port, pid } = monolith;
const log = await openLog({ dataDir: dir });
try {
  const api = new JsonApi(`http://127.0.0.1:${port}`, development.api_token);
  const dsn = new URL(development.dsn);
  const path = `/api${dsn.pathname}/envelope/?sentry_version=7&sentry_key=${dsn.username}`;
  const load: Load = { host: '127.0.0.1', port, path, seconds: SECONDS, ratePerSec: RATE, connections: 64 };
  let taken = 0;
  const send = async (name: string, seconds = SECONDS): Promise<Answers> => {
    generator.send({ ...load, seconds });
    const [answers] = (await once(generator, 'message')) as [Answers];
    taken += answers.statuses['200'] ?? 0;
    const each = Object.entries(answers.statuses).map(
      ([status, count]) =>
        `${count} × ${status} (p50 ${answers.p50MsOf[status]?.toFixed(2)} ms, p99 ${answers.p99MsOf[status]?.toFixed(2)} ms)`,
    );
    say(`${name}: ${each.join(', ')}; ${rssMb(pid).toFixed(0)} MB, load average ${loadavg()[0]?.toFixed(1)}`);
    return answers;
  };
  await bare();
  await send('warming up', 8);
  await send('as it is');
  const lock = new DatabaseSync(logFile(dir), { timeout: 5_000 });
  const locks = new AbortController();
  const locking = (async () => {
    while (!locks.signal.aborted) {
      lock.exec('begin immediate');
      await delay(LOCKED_MS);
      lock.exec('rollback');
      await delay(FREE_MS);
    }
  })();
  await send(`locked ${LOCKED_MS} ms of every ${LOCKED_MS + FREE_MS}`);
  locks.abort();
  await locking;
  lock.exec('begin immediate');
  await send('locked all the time');
  await send('locked still');
  lock.exec('rollback');
  lock.close();
  const freeMs = performance.now();
  for (let first = true; ; first = false) {
    const { statuses } = await send(first ? 'free again, the first second' : 'the next second', 1);
    if (Object.keys(statuses).join() === '200') break;
    if (performance.now() - freeMs > SETTLED_DEADLINE_MS) throw new Error('it does not recover');
  }
  say(`takes everything again after ${((performance.now() - freeMs) / 1_000).toFixed(1)} s at most`);
  const untilMs = performance.now() + SETTLED_DEADLINE_MS;
  let stored = 0;
  while (stored < taken && performance.now() < untilMs) {
    await delay(500);
    stored = (await acceptedOf(api, development.organization)).accepted;
  }
  const { accepted, others } = await acceptedOf(api, development.organization);
  const left = await log.lag(GROUPS.events, INGEST_TOPICS);
  say(
    `${taken} were answered 200, ${accepted} are stored, ${others} have another outcome (what came twice is one of them); lag ${left}`,
  );
  if (accepted !== taken) process.exitCode = 1;
  await bare();
} finally {
  generator.disconnect();
  await log.close();
  await monolith.stop();
}

async function bare(): Promise<void> {
  const server = fork(join(import.meta.dirname, 'events-bare.ts'));
  const [bareAt] = (await once(server, 'message')) as [number];
  const path = '/api/1/envelope/';
  generator.send({
    host: '127.0.0.1',
    port: bareAt,
    path,
    seconds: 8,
    ratePerSec: RATE,
    connections: 64,
  } satisfies Load);
  const [{ p50Ms, p99Ms }] = (await once(generator, 'message')) as [Answers];
  server.disconnect();
  say(
    `node:http alone: p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, load average ${loadavg()[0]?.toFixed(1)}`,
  );
}
