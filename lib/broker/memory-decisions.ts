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
/**
 * What renewals may take, for each decision that there may be: less than half of them, and no long ones. A listener can make
 * any number of these alone, and must not keep others from revoking its token.
 */
const RENEWAL_BYTES_PER_DECISION = 256;
/** What one takes beside its detail. */
const RENEWAL_OVERHEAD_BYTES = 512;

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
  #renewalBytes = 0;

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
    if (!this.#hasRoom(decision, known)) this.#sweep(nowMs);
    if (!this.#hasRoom(decision, known)) {
      throw new BrokerUnavailableError(`the memory broker is full: it may remember ${this.#max} decisions`);
    }
    this.#forget(key, known);
    this.#known.set(key, { decision, expiresAtMs });
    this.#renewalBytes += renewalBytes(decision);
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
    this.#forget(key, known);
    return undefined;
  }

  #hasRoom(decision: Decision, known: Known | undefined): boolean {
    const size = this.#known.size + (known === undefined ? 1 : 0);
    const more = renewalBytes(decision) - (known === undefined ? 0 : renewalBytes(known.decision));
    return size <= this.#max && (more <= 0 || this.#renewalBytes + more <= this.#max * RENEWAL_BYTES_PER_DECISION);
  }

  #sweep(nowMs: number): void {
    for (const [key, known] of this.#known) if (nowMs >= known.expiresAtMs) this.#forget(key, known);
  }

  #forget(key: string, known: Known | undefined): void {
    if (known === undefined) return;
    this.#known.delete(key);
    this.#renewalBytes -= renewalBytes(known.decision);
  }
}

function renewalBytes({ kind, detail }: Decision): number {
  return kind === 'token_renewed' ? RENEWAL_OVERHEAD_BYTES + detail.length : 0;
}
