import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { Limits } from '#lib/limits/limits.ts';
import type { NewRecord } from '#lib/log/log.ts';
import { Batcher } from './batcher.ts';
import type { CachedLimits } from './cached-limits.ts';
import type { Received } from './envelope.ts';
import type { LogWriter } from './log-writer.ts';
import { limit, refusalOf, withItems } from './pipeline-admission.ts';
import { countOutcomes, type PipelineCounters } from './pipeline-counters.ts';
import { type InvalidBecause, invalidOutcomes, outcomeOf } from './pipeline-outcomes.ts';
import { processProjectOf } from './pipeline-project.ts';
import { type Counted, countQuotas, invalidCounted } from './pipeline-quotas.ts';
import { recordsOf } from './pipeline-records.ts';
import type { PipelineSettings } from './pipeline-settings.ts';
import type { Processed, ProcessInput, Processor } from './processing.ts';
import type { ProjectState } from './project-cache.ts';
import type { Taken } from './queue.ts';

export interface PipelineWorkOptions {
  readonly limits: Limits;
  readonly cached: CachedLimits;
  readonly processor: Processor;
  readonly writer: LogWriter;
  readonly counters: PipelineCounters;
  readonly settings: PipelineSettings;
  readonly onSettled: (taken: Taken, isLogged: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** An envelope whose project is known, or of which nothing is taken. */
type Job = { readonly taken: Taken; readonly received: Received } & (
  | { readonly config: ProjectConfig; readonly invalid?: undefined }
  | { readonly config: ProjectConfig | undefined; readonly invalid: InvalidBecause }
);

/** What is left to be done of an envelope: to log it. */
interface Done {
  readonly taken: Taken;
  readonly records: readonly NewRecord[];
  readonly outcomes: readonly Outcome[];
  readonly events: number;
  /** What is said in place of the records, where the log will never take them. */
  readonly instead?: (() => readonly Outcome[]) | undefined;
}

/** Processes envelopes in batches, counts what is taken of them, and logs that together with the outcomes of the rest. */
export class PipelineWork {
  readonly #options: PipelineWorkOptions;
  readonly #batcher: Batcher<Job>;

  constructor(options: PipelineWorkOptions) {
    const { maxBatchEnvelopes, maxBatchBytes, maxBatchWaitMs, maxBatches } = options.settings;
    this.#options = options;
    this.#batcher = new Batcher({
      run: (jobs) => this.#run(jobs),
      maxItems: maxBatchEnvelopes,
      maxBytes: maxBatchBytes,
      maxWaitMs: maxBatchWaitMs,
      maxConcurrent: maxBatches,
    });
  }

  /** What the endpoint has checked. */
  add(taken: Taken, received: Received, config: ProjectConfig): void {
    this.#batcher.add({ taken, received, config }, taken.chargedBytes);
  }

  /** What was taken before its project was known. */
  addWaited(taken: Taken, received: Received, state: ProjectState): void {
    const config = state.kind === 'enabled' ? state.config : undefined;
    const invalid = becauseOf(received, state);
    if (invalid !== undefined) this.#batcher.add({ taken, received, config, invalid }, taken.chargedBytes);
    else if (config !== undefined) this.add(taken, received, config);
  }

  /** What has not been begun is lost. */
  close(): void {
    for (const { taken } of this.#batcher.close()) this.#options.onSettled(taken, false);
  }

  /** Ends when the processing is done: what waits for the log stands in nobody's way. */
  async #run(jobs: readonly Job[]): Promise<void> {
    let done: Done[];
    try {
      done = await this.#work(jobs);
    } catch (error) {
      this.#options.onError(error);
      done = jobs.map((job) => invalidDone(job, 'internal'));
    }
    void this.#log(done);
  }

  async #work(jobs: readonly Job[]): Promise<Done[]> {
    const { cached, limits } = this.#options;
    const done: Done[] = [];
    const toProcess: { job: Job; config: ProjectConfig; received: Received; outcomes: Outcome[] }[] = [];
    const nowMs = Date.now();
    for (const job of jobs) {
      if (job.invalid !== undefined) {
        done.push(invalidDone(job, job.invalid));
        continue;
      }
      const { taken, received, config } = job;
      // Limits that were met since it was taken cost no more work.
      const limited = limit(received, config, cached, nowMs);
      const outcomes = [...taken.outcomes, ...(limited?.outcomes ?? [])];
      if (limited?.kept.length === 0) done.push({ taken, records: [], outcomes, events: 0 });
      else toProcess.push({ job, config, outcomes, received: limited ? withItems(received, limited.kept) : received });
    }
    const processed = await this.#process(toProcess.map(({ received, config }) => inputOf(received, config)));
    const counted = toProcess.flatMap(({ job, config, received, outcomes }, n) => {
      const result = processed[n];
      if (result !== undefined) return { job, counted: countable(config, received, result, outcomes) };
      outcomes.push(...invalidOutcomes(received, config, 'internal'));
      done.push({ taken: job.taken, records: [], outcomes, events: 0 });
      return [];
    });
    await countQuotas(
      limits,
      cached,
      counted.map((each) => each.counted),
    );
    for (const each of counted) done.push(this.#doneOf(each.job.taken, each.counted));
    return done;
  }

  /** Undefined: a thread died of it. */
  async #process(inputs: readonly ProcessInput[]): Promise<readonly (Processed | undefined)[]> {
    if (inputs.length === 0) return [];
    try {
      return await this.#options.processor.process(inputs);
    } catch (error) {
      this.#options.onError(error);
      if (inputs.length === 1) return [undefined];
    }
    // One of them is to blame: the others need not go with it.
    const results: (Processed | undefined)[] = [];
    for (const input of inputs) results.push(...(await this.#process([input])));
    return results;
  }

  #doneOf(taken: Taken, counted: Counted): Done {
    let records: readonly NewRecord[] | undefined;
    let because: InvalidBecause = 'too_large';
    try {
      records = recordsOf(counted);
    } catch (error) {
      this.#options.onError(error);
      because = 'internal';
    }
    if (records === undefined) return { taken, records: [], outcomes: invalidCounted(counted, because), events: 0 };
    const instead = () => invalidCounted({ ...counted, outcomes: [] }, 'internal');
    return { taken, records, outcomes: counted.outcomes, events: counted.events.length, instead };
  }

  async #log(done: readonly Done[]): Promise<void> {
    const { writer, counters, onSettled } = this.#options;
    const written = await writer.write(done);
    const refused: Done[] = [];
    for (const [n, { taken, outcomes, events, instead }] of done.entries()) {
      if (written[n] === 'refused' && instead !== undefined) {
        countOutcomes(counters, outcomes);
        refused.push({ taken, records: [], outcomes: instead(), events: 0 });
        continue;
      }
      if (written[n] === 'logged') {
        counters.loggedEvents += events;
        countOutcomes(counters, outcomes);
      }
      onSettled(taken, written[n] === 'logged');
    }
    if (refused.length > 0) await this.#log(refused);
  }
}

function becauseOf({ sender }: Received, state: ProjectState): InvalidBecause | undefined {
  switch (state.kind) {
    case 'pending':
      return 'project_unavailable';
    case 'disabled':
      return 'project_disabled';
    case 'enabled':
      return refusalOf(state.config, sender);
  }
}

function invalidDone({ taken, received, config }: Job, because: InvalidBecause): Done {
  const outcomes = [...taken.outcomes, ...invalidOutcomes(received, config, because)];
  return { taken, records: [], outcomes, events: 0 };
}

function inputOf({ envelope, sender }: Received, config: ProjectConfig): ProcessInput {
  return { envelope, sender, project: processProjectOf(config) };
}

function countable(config: ProjectConfig, { sender }: Received, processed: Processed, outcomes: Outcome[]): Counted {
  const { events, attachments, userReports, refused } = processed;
  for (const { outcome, reason, category, quantity, eventId } of refused) {
    const verdict = { outcome, reason, owner: config, timestampMs: sender.receivedMs };
    outcomes.push(outcomeOf(verdict, category, quantity, eventId));
  }
  return { config, receivedMs: sender.receivedMs, events, attachments, userReports, outcomes };
}
