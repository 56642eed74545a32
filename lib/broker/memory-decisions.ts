import { BrokerUnavailableError } from './broker.ts';
import {
  type Decision,
  type Decisions,
  type DecisionWatcher,
  keepsFirst,
  type Subject,
  subjectKey,
} from './decisions.ts';

/** More are refused: a decision that was answered is never forgotten before its time. */
const DEFAULT_MAX_DECISIONS = 100_000;

interface Known {
  readonly decision: Decision;
  expiresAtMs: number;
}

/** Decisions in this process's memory. */
export class MemoryDecisions implements Decisions {
  readonly #now: () => number;
  readonly #max: number;
  readonly #known = new Map<string, Known>();
  readonly #watchers = new Set<DecisionWatcher>();

  /** @param now the clock by which they expire; it throws if the broker is closed. */
  constructor(now: () => number, max = DEFAULT_MAX_DECISIONS) {
    this.#now = now;
    this.#max = max;
  }

  async make(decision: Decision, ttlMs: number): Promise<Decision> {
    const nowMs = this.#now();
    const key = subjectKey(decision);
    const known = this.#find(key, nowMs);
    const expiresAtMs = nowMs + ttlMs;
    if (known !== undefined && (keepsFirst(decision.kind) || known.decision.atMs >= decision.atMs)) {
      known.expiresAtMs = Math.max(known.expiresAtMs, expiresAtMs);
      return known.decision;
    }
    if (known === undefined) this.#makeRoom(nowMs);
    this.#known.set(key, { decision, expiresAtMs });
    for (const watcher of [...this.#watchers]) watcher.onDecision(decision);
    return decision;
  }

  async find(subjects: readonly Subject[]): Promise<(Decision | undefined)[]> {
    const nowMs = this.#now();
    return subjects.map((subject) => this.#find(subjectKey(subject), nowMs)?.decision);
  }

  watch(watcher: DecisionWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #find(key: string, nowMs: number): Known | undefined {
    const known = this.#known.get(key);
    if (known === undefined || nowMs < known.expiresAtMs) return known;
    this.#known.delete(key);
    return undefined;
  }

  #makeRoom(nowMs: number): void {
    if (this.#known.size < this.#max) return;
    for (const [key, { expiresAtMs }] of this.#known) if (nowMs >= expiresAtMs) this.#known.delete(key);
    if (this.#known.size < this.#max) return;
    throw new BrokerUnavailableError(`the memory broker is full: it may remember ${this.#max} decisions`);
  }
}
