import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// What Node has compiled is kept for the next process: vitest, its workers and the programs that tests start load the same
// code again and again. What was compiled of other text is not used.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules', '.cache', 'compiled');
enableCompileCache();

// Where `isolate` is false, files share processes and what those have loaded: loading it anew for each costs most of a second.
// Modules keep no state that one file could leave to the next, and no hooks, which only the first file would have: helpers
// clean up by onTestFinished.

// Kinds of tests, by what they need. Unit tests stand beside the code and start nothing; `*.redis.test.ts` start real
// Redis servers, `*.postgres.test.ts` real PostgreSQL, `*.kafka.test.ts` real Kafka; `*.sqlite.test.ts` and
// `*.threads.test.ts` are suites on files, with threads and with processes that are killed, and `*.heap.test.ts` measure
// memory, each in a process of its own; `*.conformance.test.ts` hold what is written by hand for speed against the generated
// code and against the protocol, over random messages; test/flows starts the product as a user does, with real Envoy in front; test/chaos breaks it.
export default defineConfig({
  test: {
    // Many unit tests wait for a socket or a timer: more workers than cores keep both cores busy.
    maxWorkers: 4,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{lib,services,cli,envoy,scripts}/**/*.test.ts'],
          exclude: ['**/*.{redis,postgres,kafka,sqlite,threads,heap,conformance}.test.ts'],
          isolate: false,
          // A deadline for what hangs, not for what is slow: the machine may be busy.
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'sqlite',
          include: ['{lib,services,cli}/**/*.{sqlite,threads,heap}.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'conformance',
          include: ['{lib,services,scripts}/**/*.conformance.test.ts'],
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'redis',
          include: ['lib/**/*.redis.test.ts'],
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'postgres',
          include: ['lib/**/*.postgres.test.ts'],
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'kafka',
          include: ['{lib,services}/**/*.kafka.test.ts'],
          globalSetup: 'test/support/kafka-prepared.ts',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'flows',
          include: ['test/flows/**/*.test.ts'],
          isolate: false,
          globalSetup: ['test/support/compile-cache.ts', 'test/support/kafka-prepared.ts'],
          // What a story waits for has a deadline of its own; on a busy machine many of them take long together.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Each has servers of its own on free ports, and mostly waits for them.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: 'chaos',
          include: ['test/chaos/**/*.test.ts'],
          // Its own processes keep the machine busy enough.
          fileParallelism: false,
        },
      },
    ],
  },
});
