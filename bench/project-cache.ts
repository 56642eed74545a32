import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ProjectConfigSchema, ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import { createProjectCache } from '../services/relay/create-project-cache.ts';
import type { ConfigSource, ProjectCache } from '../services/relay/project-cache.ts';

// `node --expose-gc bench/project-cache.ts [projects]`: what the relay's project cache takes of memory for each project,
// with the settings that projects begin with or with some of their own, and how long a look into it takes. The source
// decodes a message for each answer, as over RPC.

const PROJECTS = Number(process.argv[2] ?? 100_000);
const ROUNDS = 5;
const PEEKS = 500_000;

const keys = Array.from({ length: PROJECTS }, (_, n) => (n + 0xabc).toString(16).padStart(32, '0'));

/** `own`: filters that no other project has. */
function encoded(n: number, kind: 'plain' | 'limited' | 'own'): Uint8Array {
  const id = BigInt(n + 1);
  return toBinary(
    ProjectConfigSchema,
    create(ProjectConfigSchema, {
      projectId: id,
      organizationId: id / 10n + 1n,
      keyId: id,
      slug: `project-${n}`,
      revision: id,
      allowedDomains: ['*'],
      retentionDays: 90,
      filters: kind === 'own' ? { errorMessages: [`*timeout of ${n}*`, '*network*'], webCrawlers: true } : {},
      scrubbing: { scrubData: true, scrubDefaults: true },
      quotas:
        kind === 'plain'
          ? []
          : [
              {
                scope: ScopedQuota_Scope.KEY,
                scopeId: id,
                quota: { id: 'key', categories: ['error', 'transaction'], limit: 1000n, windowSec: 60 },
              },
            ],
    }),
  );
}

function heapBytes(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

for (const kind of ['plain', 'limited', 'own'] as const) {
  await measure(kind);
  // What it leaves must not be taken for the next one's.
  await delay(500);
}

async function measure(kind: 'plain' | 'limited' | 'own'): Promise<void> {
  const source: ConfigSource = {
    lookup: async (asked) =>
      asked.map(({ publicKey }) => {
        const n = Number.parseInt(publicKey, 16) - 0xabc;
        return { kind: 'enabled', config: fromBinary(ProjectConfigSchema, encoded(n, kind)) };
      }),
    close() {},
  };
  const beforeBytes = heapBytes();
  const cache = createProjectCache({ source, batchIntervalMs: 1, onError: console.error, maxProjects: PROJECTS });
  const beganMs = performance.now();
  for (const key of keys) cache.peek(key);
  while (cache.peek(keys.at(-1) ?? '').kind === 'pending') await delay(10);
  const loadedMs = performance.now() - beganMs;
  const bytes = heapBytes() - beforeBytes;
  console.log(
    `${kind}: ${Math.round(bytes / PROJECTS)} bytes a project, loaded in ${Math.round(loadedMs)} ms; ` +
      `a peek: ${peeksNs(cache, PROJECTS)} of all, ${peeksNs(cache, 1_000)} of 1,000`,
  );
  cache.close();
}

function peeksNs(cache: ProjectCache, projects: number): string {
  const timesNs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    let enabled = 0;
    const beganMs = performance.now();
    // Far apart, as requests are.
    for (let n = 0, at = 0; n < PEEKS; n += 1, at = (at + 7_919) % projects) {
      if (cache.peek(keys[at] ?? '').kind === 'enabled') enabled += 1;
    }
    timesNs.push(((performance.now() - beganMs) * 1e6) / PEEKS);
    if (enabled !== PEEKS) throw new Error(`${enabled} of ${PEEKS} are enabled`);
  }
  return `${Math.round(Math.min(...timesNs))} to ${Math.round(Math.max(...timesNs))} ns`;
}
