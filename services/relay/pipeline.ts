import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { ActiveLimit, Limits } from '#lib/limits/limits.ts';
import type { Log } from '#lib/log/log.ts';
import { CachedLimits } from './cached-limits.ts';
import type { Received } from './envelope.ts';
import { FairShares } from './fair-shares.ts';
import type { InvalidRequest } from './http-call.ts';
import type { Accepted, Intake } from './intake.ts';
import { LogWriter } from './log-writer.ts';
import { OutcomeWriter } from './outcome-writer.ts';
import { limit, refusalOf, withItems } from './pipeline-admission.ts';
import { countOutcomes, newCounters, type PipelineCounters } from './pipeline-counters.ts';
import { invalidOutcomes, isEvent, outcomeOf } from './pipeline-outcomes.ts';
import { DEFAULT_PIPELINE_SETTINGS, type PipelineSettings } from './pipeline-settings.ts';
import { PipelineWork } from './pipeline-work.ts';
import type { Processor } from './processing.ts';
import type { ProjectCache } from './project-cache.ts';
import { ProjectQueue, type Taken } from './queue.ts';

export interface PipelineOptions {
  readonly projects: ProjectCache;
  readonly limits: Limits;
  readonly processor: Processor;
  readonly log: Log;
  /** Hears what is of interest to whoever operates it; nothing of what was sent. */
  readonly onError: (error: unknown) => void;
  readonly settings?: Partial<PipelineSettings>;
}

/** What is between the endpoint and the log. The endpoint answers by {@link Intake}; everything else is behind that. */
export interface Pipeline extends Intake {
  readonly counters: Readonly<PipelineCounters>;
  /** Something was refused before it was an envelope: it has an outcome too. */
  invalid(invalid: InvalidRequest): void;
  /** False: it takes nothing, or soon won't. */
  ready(): boolean;
  /** Takes nothing more, and finishes what was taken. @returns whether all of it is in the log within `timeoutMs`. */
  drain(timeoutMs: number): Promise<boolean>;
  /** Gives up what is left. What it uses is closed by whoever opened it. Idempotent. */
  close(): void;
}

/** However small an envelope is: its objects. */
const MIN_ENVELOPE_BYTES = 2_048;
const READY_BELOW = 0.9;
const NO_LIMITS: readonly ActiveLimit[] = [];
const NO_OUTCOMES: readonly Outcome[] = [];
const OVERLOADED: Accepted = { kind: 'overloaded' };
const REFUSED = {
  project_disabled: { kind: 'refused', reason: 'project_disabled' },
  project_id: { kind: 'refused', reason: 'project_id' },
  origin: { kind: 'refused', reason: 'origin' },
} as const satisfies Record<string, Accepted>;

export function createPipeline(options: PipelineOptions): Pipeline {
  return new RelayPipeline(options);
}

class RelayPipeline implements Pipeline {
  readonly counters = newCounters();
  readonly #settings: PipelineSettings;
  readonly #projects: ProjectCache;
  readonly #cached = new CachedLimits();
  readonly #writer: LogWriter;
  readonly #outcomes: OutcomeWriter;
  readonly #waiting: ProjectQueue;
  readonly #work: PipelineWork;
  /**
   * Of the queue, by project: one that is sent more than the log takes leaves place to the others. Anybody can make up keys:
   * what is of no project, or of none that is known yet, is as of one.
   */
  readonly #shares: FairShares<bigint | undefined>;
  #isDraining = false;
  #onIdle: (() => void) | undefined;

  constructor({ projects, limits, processor, log, onError, settings }: PipelineOptions) {
    this.#settings = { ...DEFAULT_PIPELINE_SETTINGS, ...settings };
    this.#shares = new FairShares(this.#settings.maxQueueBytes);
    this.#projects = projects;
    this.#writer = new LogWriter({ log, onError });
    this.#outcomes = new OutcomeWriter({
      writer: this.#writer,
      onLost: (outcomes) => {
        this.counters.lostOutcomes += outcomes;
      },
    });
    this.#work = new PipelineWork({
      ...{ limits, processor, onError, cached: this.#cached, writer: this.#writer },
      ...{ counters: this.counters, settings: this.#settings },
      onSettled: (taken, isLogged) => this.#settle(taken, isLogged),
    });
    this.#waiting = new ProjectQueue({
      projects,
      timeoutMs: this.#settings.projectTimeoutMs,
      onProject: (taken, received, state) => {
        if (state.kind === 'enabled') this.#moveTo(state.config.projectId, taken);
        this.#work.addWaited(taken, received, state);
      },
      onLost: (taken) => this.#settle(taken, false),
      onError,
    });
  }

  accept(received: Received): Accepted {
    const { counters } = this;
    const accepted = this.#accept(received, Math.max(received.sizeBytes, MIN_ENVELOPE_BYTES));
    if (accepted === OVERLOADED) {
      counters.overloadedEnvelopes += 1;
      return accepted;
    }
    counters.receivedEnvelopes += 1;
    for (const item of received.envelope.items) if (isEvent(item)) counters.receivedEvents += 1;
    return accepted;
  }

  invalid({ sender, reason, category }: InvalidRequest): void {
    const state = this.#projects.peek(sender.publicKey);
    const owner = state.kind === 'enabled' ? state.config : undefined;
    const verdict = { outcome: 'invalid', reason, owner, timestampMs: sender.receivedMs } as const;
    this.#say([outcomeOf(verdict, category, 1, undefined)]);
  }

  ready(): boolean {
    return (
      !this.#isDraining &&
      !this.#writer.isAway &&
      this.counters.queuedBytes < READY_BELOW * this.#settings.maxQueueBytes
    );
  }

  async drain(timeoutMs: number): Promise<boolean> {
    this.#isDraining = true;
    const { promise: isLate, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(resolve, timeoutMs, false);
    try {
      return await Promise.race([this.#finish(), isLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#isDraining = true;
    this.#waiting.close();
    this.#work.close();
    this.#writer.close();
  }

  #accept(received: Received, chargedBytes: number): Accepted {
    // Not even asked about where it can't be taken: to peek has it looked up.
    if (this.#isOverloaded(chargedBytes)) return OVERLOADED;
    const state = this.#projects.peek(received.sender.publicKey);
    switch (state.kind) {
      case 'pending':
        return this.#queue(received, chargedBytes, undefined, NO_OUTCOMES, NO_LIMITS);
      case 'disabled':
        this.#say(invalidOutcomes(received, undefined, 'project_disabled'));
        return REFUSED.project_disabled;
      case 'enabled':
        return this.#acceptFor(state.config, received, chargedBytes);
    }
  }

  #acceptFor(config: ProjectConfig, received: Received, chargedBytes: number): Accepted {
    const refusal = refusalOf(config, received.sender);
    if (refusal !== undefined) {
      this.#say(invalidOutcomes(received, config, refusal));
      return REFUSED[refusal];
    }
    const limited = limit(received, config, this.#cached, Date.now());
    if (limited === undefined) return this.#queue(received, chargedBytes, config, NO_OUTCOMES, NO_LIMITS);
    const { kept, limits, outcomes } = limited;
    if (kept.length > 0) return this.#queue(withItems(received, kept), chargedBytes, config, outcomes, limits);
    this.#say(outcomes);
    return { kind: 'limited', limits };
  }

  #queue(
    received: Received,
    chargedBytes: number,
    config: ProjectConfig | undefined,
    outcomes: readonly Outcome[],
    limits: readonly ActiveLimit[],
  ): Accepted {
    const projectId = config?.projectId;
    if (!this.#shares.hasRoom(projectId, this.#needed(chargedBytes))) return OVERLOADED;
    this.#shares.add(projectId, chargedBytes);
    this.counters.queuedEnvelopes += 1;
    this.counters.queuedBytes += chargedBytes;
    const { promise: settled, resolve } = Promise.withResolvers<boolean>();
    const taken: Taken = { chargedBytes, projectId, outcomes, resolve };
    if (config === undefined) this.#waiting.add(taken, received);
    else this.#work.add(taken, received, config);
    return { kind: 'queued', limits, settled };
  }

  #moveTo(projectId: bigint, taken: Taken): void {
    this.#shares.give(taken.projectId, taken.chargedBytes);
    taken.projectId = projectId;
    this.#shares.add(projectId, taken.chargedBytes);
  }

  #settle({ chargedBytes, projectId, resolve }: Taken, isLogged: boolean): void {
    const { counters } = this;
    this.#shares.give(projectId, chargedBytes);
    counters.queuedEnvelopes -= 1;
    counters.queuedBytes -= chargedBytes;
    if (!isLogged) counters.lostEnvelopes += 1;
    if (counters.queuedEnvelopes === 0) this.#onIdle?.();
    resolve(isLogged);
  }

  #say(outcomes: readonly Outcome[]): void {
    countOutcomes(this.counters, outcomes);
    this.#outcomes.add(outcomes);
  }

  /** For whomever it is. */
  #isOverloaded(chargedBytes: number): boolean {
    return (
      this.#isDraining ||
      this.counters.queuedBytes + this.#needed(chargedBytes) > this.#settings.maxQueueBytes ||
      this.#outcomes.isFull ||
      this.#writer.isAway
    );
  }

  /** A large envelope needs no more than half of the place, or some would never find any. */
  #needed(chargedBytes: number): number {
    return Math.min(chargedBytes, this.#settings.maxQueueBytes / 2);
  }

  async #finish(): Promise<boolean> {
    if (this.counters.queuedEnvelopes > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    await this.#outcomes.flush();
    return this.counters.lostEnvelopes === 0 && this.counters.lostOutcomes === 0;
  }
}
