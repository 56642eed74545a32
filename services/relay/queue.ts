import { setTimeout as delay } from 'node:timers/promises';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { Received } from './envelope.ts';
import type { ProjectCache, ProjectState } from './project-cache.ts';

/** An envelope that was taken and is not settled. What was received is kept apart, to be let go before that. */
export interface Taken {
  readonly chargedBytes: number;
  /** Whose share of the place that is. */
  projectId: bigint | undefined;
  /** Of what the endpoint dropped of it. */
  readonly outcomes: readonly Outcome[];
  readonly resolve: (isLogged: boolean) => void;
}

export interface ProjectQueueOptions {
  readonly projects: ProjectCache;
  /** After so long what waits is handed on as pending. */
  readonly timeoutMs: number;
  readonly onProject: (taken: Taken, received: Received, state: ProjectState) => void;
  readonly onLost: (taken: Taken) => void;
  readonly onError: (error: unknown) => void;
}

interface Waiting {
  readonly taken: Taken;
  readonly received: Received;
  readonly untilMs: number;
}

const MIN_WAIT_MS = 20;
const UNKNOWN: ProjectState = { kind: 'pending' };

/** What was taken before its project was known waits here, by key. Its pipeline bounds how much. */
export class ProjectQueue {
  readonly #options: ProjectQueueOptions;
  readonly #byKey = new Map<string, Waiting[]>();

  constructor(options: ProjectQueueOptions) {
    this.#options = options;
  }

  add(taken: Taken, received: Received): void {
    const { publicKey } = received.sender;
    const waiting = { taken, received, untilMs: performance.now() + this.#options.timeoutMs };
    const others = this.#byKey.get(publicKey);
    if (others !== undefined) {
      others.push(waiting);
      return;
    }
    this.#byKey.set(publicKey, [waiting]);
    void this.#wait(publicKey);
  }

  /** What still waits is lost. */
  close(): void {
    const all = [...this.#byKey.values()].flat();
    this.#byKey.clear();
    for (const { taken } of all) this.#options.onLost(taken);
  }

  async #wait(publicKey: string): Promise<void> {
    for (;;) {
      const askedMs = performance.now();
      const [oldest] = this.#byKey.get(publicKey) ?? [];
      if (oldest === undefined) return;
      const state = await this.#ask(publicKey, oldest.untilMs - performance.now());
      const waiting = this.#byKey.get(publicKey) ?? [];
      const nowMs = performance.now();
      // Those who came later wait for as long as those before them.
      const isLeft = ({ untilMs }: Waiting) => state?.kind === 'pending' && untilMs > nowMs;
      const left = waiting.filter(isLeft);
      if (left.length === 0) this.#byKey.delete(publicKey);
      else this.#byKey.set(publicKey, left);
      for (const each of waiting) {
        if (!isLeft(each)) this.#options.onProject(each.taken, each.received, state ?? UNKNOWN);
      }
      // A cache that is closed or overfull has nothing to wait for.
      if (left.length > 0 && performance.now() - askedMs < MIN_WAIT_MS) await delay(MIN_WAIT_MS);
    }
  }

  /** Undefined: there is nobody to ask. */
  async #ask(publicKey: string, timeoutMs: number): Promise<ProjectState | undefined> {
    try {
      return await this.#options.projects.get(publicKey, Math.max(1, Math.ceil(timeoutMs)));
    } catch (error) {
      this.#options.onError(error);
      return undefined;
    }
  }
}
