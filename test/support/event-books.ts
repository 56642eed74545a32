import { expect } from 'vitest';
import { auditOnceHandled } from './event-audit.ts';
import type { EventLoad } from './event-load.ts';
import type { JsonApi } from './json-api.ts';

export interface Books {
  readonly api: JsonApi;
  /** Of the project that all of the load is for. */
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
  readonly load: EventLoad;
  /** Of processes that had answered and not logged. */
  readonly deaths: readonly Death[];
}

/** By performance.now(). */
export interface Death {
  readonly killedMs: number;
  /** When another was in its place: answers of before that were its own, on their way. */
  readonly replacedMs: number;
  /** If it died while the log was away, or shortly after: when that went. What was answered since may have waited. */
  readonly logWentMs: number | undefined;
}

/**
 * How long before a kill something was answered that died with it, at most. What waits is bounded in bytes, not in time: a log
 * that is away is waited for five seconds before more is refused, and on a busy machine as long again to take what waited.
 */
export const LOSS_WINDOW_MS = 10_000;
const PAGE_SIZE = 1_000;

/**
 * Everything that SendEnvelopes acknowledged is stored; so is what HTTP answered with 200, but for what a killed process
 * had not logged; nothing is stored or counted twice; and the audit balances.
 * @returns what died with killed processes: each answered over HTTP, and not stored.
 */
export async function expectBooks({ api, path, env, load, deaths }: Books): Promise<{ lost: number; stored: number }> {
  const { exitCode, json } = await auditOnceHandled(env);
  expect(json.problems ?? [], JSON.stringify(json)).toEqual([]);
  expect([json.balanced, json.imbalances, exitCode]).toEqual([true, [], 0]);

  const stored = await idsOf(api, path);
  const ids = new Set(stored);
  expect(stored.length - ids.size, 'stored twice').toBe(0);
  const isMissing = (id: string) => !ids.has(id);
  expect([...load.acknowledged].filter(isMissing), 'acknowledged and not stored').toEqual([]);
  const lost = [...load.answered].filter(([id]) => isMissing(id));
  const unexplained = lost.filter(
    ([, answeredMs]) =>
      !deaths.some(
        ({ killedMs, replacedMs, logWentMs = killedMs }) =>
          answeredMs > logWentMs - LOSS_WINDOW_MS && answeredMs < replacedMs,
      ),
  );
  expect(unexplained, 'answered, and lost without a kill').toEqual([]);

  const { totals } = await api.fetch('GET', `${path}/outcomes`);
  const accepted = totals.filter((total: { outcome: string }) => total.outcome === 'accepted');
  expect(accepted).toMatchObject([{ category: 'error', quantity: String(ids.size) }]);
  return { lost: lost.length, stored: ids.size };
}

async function idsOf(api: JsonApi, path: string): Promise<string[]> {
  const ids: string[] = [];
  for (let token = ''; ; ) {
    const page = await api.fetch('GET', `${path}/events?page_size=${PAGE_SIZE}&page_token=${token}`);
    ids.push(...page.events.map(({ id }: { id: string }) => id));
    token = page.next_page_token;
    if (token === '') return ids;
  }
}
