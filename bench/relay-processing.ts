import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { createProcessor } from '../services/relay/processing/create-processor.ts';
import { PYTHON_EVENT } from '../services/relay/processing/fixtures.ts';
import { processEnvelope } from '../services/relay/processing/judge.ts';
import { inputOf, itemOf } from '../services/relay/processing/testing.ts';
import type { ProcessInput } from '../services/relay/processing.ts';

// `node bench/relay-processing.ts [seconds] [function|threads]`: what an event of 1.3 KB costs. `function`: to normalize it,
// in one thread, reading and writing JSON included, and JSON.parse with JSON.stringify beside it. `threads`: through the
// pool, by batch size: the main thread's CPU (handing over and taking back) and that of the whole process.

const SECONDS = Number(process.argv[2] ?? 3);
const PART = process.argv[3];
const EVENT_BYTES = 1300;
const IN_FLIGHT = 4;

const payload = eventOf(EVENT_BYTES);
const input: ProcessInput = inputOf([itemOf('event', payload)], {
  envelope: { sentAtMs: undefined },
  sender: { userAgent: 'sentry.python/2.20.0', client: 'sentry.python/2.20.0' },
});

if (PART !== 'threads') {
  const allOn = { browserExtensions: true, webCrawlers: true, localhost: true, legacyBrowsers: ['default'] };
  const filtered = inputOf([itemOf('event', payload)], {
    filters: { ...allOn, clientIps: ['10.0.0.0/8'], errorMessages: ['*never*'], releases: ['0.*'] },
  });
  report(
    'JSON.parse and JSON.stringify alone',
    perEvent(() => Buffer.from(JSON.stringify(JSON.parse(payload.toString())))),
  );
  report(
    'processEnvelope',
    perEvent(() => processEnvelope(input)),
  );
  report(
    'processEnvelope, with filters',
    perEvent(() => processEnvelope(filtered)),
  );
}
if (PART !== 'function') for (const size of [1, 8, 32, 64]) await throughPool(size);

function perEvent(run: () => unknown): number {
  const round = (ms: number) => {
    const from = process.threadCpuUsage();
    const untilMs = performance.now() + ms;
    let count = 0;
    while (performance.now() < untilMs) for (let index = 0; index < 100; index++, count++) run();
    return micros(process.threadCpuUsage(from)) / count;
  };
  round(SECONDS * 300);
  return round(SECONDS * 1000);
}

async function throughPool(size: number): Promise<void> {
  const processor = createProcessor({ threads: 1, onError: (error) => process.stderr.write(`${error.stack}\n`) });
  const batch = Array.from({ length: size }, () => input);
  const run = async (ms: number): Promise<number> => {
    const untilMs = performance.now() + ms;
    let count = 0;
    const loop = async () => {
      for (; performance.now() < untilMs; count += size) await processor.process(batch);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, loop));
    return count;
  };
  await run(SECONDS * 500);
  const [mainFrom, allFrom, fromMs] = [process.threadCpuUsage(), process.cpuUsage(), performance.now()];
  const count = await run(SECONDS * 1000);
  const [main, all] = [micros(process.threadCpuUsage(mainFrom)) / count, micros(process.cpuUsage(allFrom)) / count];
  const perSecond = Math.round((count * 1000) / (performance.now() - fromMs));
  process.stdout.write(
    `batches of ${size}, one thread: ${main.toFixed(1)} µs in the main thread, ${all.toFixed(1)} µs in all, ${perSecond} events/s\n`,
  );
  await processor.close();
}

function report(name: string, us: number): void {
  process.stdout.write(`${name}: ${us.toFixed(1)} µs for ${payload.byteLength} bytes\n`);
}

function micros({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}

/** An event as Python's SDK sends it, of that size. */
function eventOf(bytes: number): Buffer {
  const { pre_context: _, ...frame } = PYTHON_EVENT.exception.values[0]!.stacktrace.frames[0]!;
  const slim = {
    ...PYTHON_EVENT,
    timestamp: undefined,
    exception: { values: [{ ...PYTHON_EVENT.exception.values[0], stacktrace: { frames: [frame] } }] },
    modules: undefined,
    extra: {},
  };
  const missing = bytes - Buffer.byteLength(JSON.stringify({ ...slim, extra: { note: '' } }));
  return Buffer.from(JSON.stringify(missing > 0 ? { ...slim, extra: { note: 'x'.repeat(missing) } } : slim));
}
