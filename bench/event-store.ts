import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import type { Effect, NewEvent } from '#lib/event-store/event-store.ts';
import { openEventStore } from '#lib/event-store/open-event-store.ts';
import { startPostgres } from '../test/support/postgres.ts';

// `node bench/event-store.ts [sqlite|postgres] [events]`: what it costs this process to save events of 1.3 KB in batches
// of 200. PostgreSQL is one of its own; what it spends itself is not counted.

const KIND = process.argv[2] ?? 'sqlite';
const EVENTS = Number(process.argv[3] ?? 40_000);
const BATCH = 200;
const WARM_UP_BATCHES = 20;
const PROJECTS = 50;

const folder = await mkdtemp(join(tmpdir(), 'tideway-bench-'));
const server = KIND === 'postgres' ? await startPostgres({ durable: true }) : undefined;
try {
  const store = await openEventStore({ databaseUrl: await server?.createDatabase(), dataDir: folder });
  let saved = 0;
  const apply = async () => {
    const effects = Array.from({ length: BATCH }, (): Effect => {
      const offset = BigInt(saved++);
      return { kind: 'event', offset, event: newEvent(Number(offset)) };
    });
    await store.apply({ group: 'bench', topicId: 'bench', partition: 0, effects });
  };
  for (let batch = 0; batch < WARM_UP_BATCHES; batch++) await apply();
  const times: number[] = [];
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  const from = saved;
  while (saved < from + EVENTS) {
    const batchMs = performance.now();
    await apply();
    times.push(performance.now() - batchMs);
  }
  const tookMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpu);
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(1);
  process.stdout.write(
    `${KIND}: ${EVENTS} events of ${newEvent(0).body.byteLength} B in batches of ${BATCH}: ` +
      `${((user + system) / EVENTS).toFixed(0)} µs CPU an event (${(system / EVENTS).toFixed(0)} of them the system's), ` +
      `${Math.round((EVENTS / tookMs) * 1_000)} events/s, a batch p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`,
  );
  await store.close();
  if (server === undefined) {
    const { size } = await stat(join(folder, 'events.sqlite'));
    process.stdout.write(`${Math.round(size / saved)} B an event on disk\n`);
  }
} finally {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
}

function newEvent(index: number): NewEvent {
  // As random as ids are.
  const eventId = (BigInt(index + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n).toString(16).padStart(32, '0').slice(-32);
  const project = index % PROJECTS;
  const nowMs = Date.now();
  return {
    organizationId: BigInt(1 + (project % 5)),
    projectId: BigInt(1 + project),
    keyId: BigInt(1 + project),
    eventId,
    receivedMs: nowMs,
    retentionDays: 90,
    category: 'error',
    level: 'error',
    title: `ValueError: could not convert string to float: '${index}'`,
    culprit: 'app.views in index',
    platform: 'python',
    release: 'shop@1.2.3',
    environment: 'production',
    transaction: '/index',
    user: `user-${index % 1_000}`,
    sdk: 'sentry.python/2.1.0',
    timeMs: nowMs - 100,
    searchText: `valueerror: could not convert string to float: '${index}' app.views in index /index user-${index % 1_000}`,
    body: bodyOf(eventId, index, nowMs),
    attachments: [],
  };
}

function bodyOf(eventId: string, index: number, nowMs: number): Uint8Array {
  const frame = (name: string, line: number) => ({
    filename: `app/${name}.py`,
    function: name,
    module: `app.${name}`,
    lineno: line,
    in_app: true,
    context_line: '    value = float(request.GET["q"])',
    pre_context: ['def index(request):', '    user = request.user'],
    post_context: ['    return render(value)'],
  });
  const value = {
    type: 'ValueError',
    value: `could not convert string to float: '${index}'`,
    mechanism: { type: 'django', handled: false },
    stacktrace: { frames: [frame('views', 42), frame('urls', 17)] },
  };
  return Buffer.from(
    JSON.stringify({
      event_id: eventId,
      timestamp: nowMs / 1_000,
      platform: 'python',
      level: 'error',
      release: 'shop@1.2.3',
      environment: 'production',
      server_name: `web-${index % 17}`,
      sdk: { name: 'sentry.python', version: '2.1.0', integrations: ['django', 'logging', 'stdlib', 'threading'] },
      exception: { values: [value] },
      user: { id: `user-${index % 1_000}` },
      tags: { customer: 'acme', region: 'eu-west-1' },
      contexts: {
        runtime: { name: 'CPython', version: '3.12.1' },
        trace: { trace_id: eventId, span_id: eventId.slice(16) },
      },
      request: { url: 'https://shop.example/index?q=1', method: 'GET' },
    }),
  );
}
