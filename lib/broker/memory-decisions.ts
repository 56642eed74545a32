import { BrokerUnavailableError } from './broker.ts';
import {
  type Decision,
  type Decisions,
  type DecisionWatcher,
  keepsFirst,
  type NewDecision,
  type Subject,
  subjectKey,
  type TokenKey,
} from './decisions.ts';

/** More are refused: a decision that was answered is never forgotten before its time. */
const DEFAULT_MAX_DECISIONS = 100_000;
/**
 * What renewals may take, for each decision that there may be: less than half of them, and no long ones. Listeners make these
 * alone, and with many tokens any number; they must not keep others from revoking those.
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
  readonly #counts = new Map<TokenKey, { count: number; readonly expiresAtMs: number }>();
  readonly #watchers = new Set<DecisionWatcher>();
  #renewalBytes = 0;

  /** @param now the clock by which they expire; it throws if the broker is closed. */
  constructor(now: () => number, max = DEFAULT_MAX_DECISIONS) {
    this.#now = now;
    this.#max = max;
  }

  async make(newDecision: NewDecision, ttlMs: number): Promise<Decision> {
    const nowMs = this.#now();
    const key = subjectKey(newDecision);
    const known = this.#find(key, nowMs);
    // Tokens say when they were issued by the system's clock, which may have been set since this broker's began.
    const latestMs = Math.max(Date.now(), (known?.decision.atMs ?? 0) + 1);
    const decision: Decision = { ...newDecision, atMs: newDecision.atMs ?? latestMs };
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

  async count(token: TokenKey, limit: number, ttlMs: number): Promise<number | undefined> {
    const nowMs = this.#now();
    const known = this.#counts.get(token);
    if (known !== undefined && nowMs < known.expiresAtMs) {
      if (known.count >= limit) return known.expiresAtMs - nowMs;
      known.count += 1;
      return undefined;
    }
    if (this.#counts.size >= this.#max) {
      for (const [key, { expiresAtMs }] of this.#counts) if (nowMs >= expiresAtMs) this.#counts.delete(key);
    }
    if (this.#counts.size >= this.#max) {
      throw new BrokerUnavailableError(`the memory broker is full: it may count for ${this.#max} tokens`);
    }
    this.#counts.set(token, { count: 1, expiresAtMs: nowMs + ttlMs });
    return undefined;
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
