import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { ActiveLimit, Limits } from '#lib/limits/limits.ts';
import type { Log } from '#lib/log/log.ts';
import { CachedLimits } from './cached-limits.ts';
import type { Received } from './envelope.ts';
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
  /** Of {@link #waiting}. */
  #unknownBytes = 0;
  #isDraining = false;
  #onIdle: (() => void) | undefined;

  constructor({ projects, limits, processor, log, onError, settings }: PipelineOptions) {
    this.#settings = { ...DEFAULT_PIPELINE_SETTINGS, ...settings };
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
        this.#unknownBytes -= taken.chargedBytes;
        this.#work.addWaited(taken, received, state);
      },
      onLost: (taken) => {
        this.#unknownBytes -= taken.chargedBytes;
        this.#settle(taken, false);
      },
      onError,
    });
  }

  accept(received: Received): Accepted {
    const { counters } = this;
    const { sender, envelope } = received;
    const chargedBytes = Math.max(received.sizeBytes, MIN_ENVELOPE_BYTES);
    // Not even asked about where it can't be taken: to peek has it looked up.
    const isOverloaded = this.#isOverloaded(chargedBytes);
    const state = isOverloaded ? undefined : this.#projects.peek(sender.publicKey);
    if (state === undefined || (state.kind === 'pending' && this.#isFullOfUnknown(chargedBytes))) {
      counters.overloadedEnvelopes += 1;
      return OVERLOADED;
    }
    counters.receivedEnvelopes += 1;
    for (const item of envelope.items) if (isEvent(item)) counters.receivedEvents += 1;
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
    this.counters.queuedEnvelopes += 1;
    this.counters.queuedBytes += chargedBytes;
    const { promise: settled, resolve } = Promise.withResolvers<boolean>();
    const taken: Taken = { chargedBytes, outcomes, resolve };
    if (config === undefined) {
      this.#unknownBytes += chargedBytes;
      this.#waiting.add(taken, received);
    } else this.#work.add(taken, received, config);
    return { kind: 'queued', limits, settled };
  }

  #settle({ chargedBytes, resolve }: Taken, isLogged: boolean): void {
    const { counters } = this;
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

  /** A large envelope needs no more than half of the place, or some would never find any. */
  #isOverloaded(chargedBytes: number): boolean {
    const { maxQueueBytes } = this.#settings;
    const needed = Math.min(chargedBytes, maxQueueBytes / 2);
    return (
      this.#isDraining ||
      this.counters.queuedBytes + needed > maxQueueBytes ||
      this.#outcomes.isFull ||
      this.#writer.isAway
    );
  }

  /** Anybody can make up a key, and it waits for as long as there is nobody to ask: that takes half of the place. */
  #isFullOfUnknown(chargedBytes: number): boolean {
    return this.#unknownBytes > 0 && this.#unknownBytes + chargedBytes > this.#settings.maxQueueBytes / 2;
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
