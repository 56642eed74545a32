import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { onTestFinished } from 'vitest';
import { type ProjectConfig, ProjectConfigSchema } from '#gen/tideway/config/v1/config_service_pb.ts';
import { decodeIngestMessage, type IngestMessage } from '#lib/ingest/ingest-message.ts';
import { decodeOutcome, type Outcome } from '#lib/ingest/outcome.ts';
import { INGEST_TOPICS, OUTCOME_TOPICS } from '#lib/ingest/topics.ts';
import type { Limits, TakeRequest } from '#lib/limits/limits.ts';
import { createMemoryLimits } from '#lib/limits/memory-limits.ts';
import type { Log, NewRecord } from '#lib/log/log.ts';
import type { Item, Received, Sender } from './envelope.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';
import type { PipelineSettings } from './pipeline-settings.ts';
import type { Processed, ProcessInput, Processor } from './processing.ts';
import type { ProjectCache, ProjectState } from './project-cache.ts';

export const KEY = 'a'.repeat(32);
export const OTHER_KEY = 'b'.repeat(32);
export const OWNER = { organizationId: 1n, projectId: 2n, keyId: 3n };

/** What a test stands around the pipeline with: as little of each part as the test needs, and real limits. */
export interface PipelineUnderTest<L extends Log = TestLog> {
  readonly pipeline: Pipeline;
  readonly projects: TestProjects;
  readonly processor: TestProcessor;
  readonly log: L;
  readonly errors: unknown[];
  /** What the limits were asked. */
  readonly asked: TakeRequest[];
}

export function openPipeline(settings: Partial<PipelineSettings> = {}): PipelineUnderTest {
  return openPipelineOn(new TestLog(), settings);
}

export function openPipelineOn<L extends Log>(log: L, settings: Partial<PipelineSettings> = {}): PipelineUnderTest<L> {
  const projects = new TestProjects();
  const processor = new TestProcessor();
  const errors: unknown[] = [];
  const asked: TakeRequest[] = [];
  const memory = createMemoryLimits();
  const limits: Limits = {
    ...memory,
    take: (requests) => {
      asked.push(...requests);
      return memory.take(requests);
    },
  };
  const onError = (error: unknown) => errors.push(error);
  const pipeline = createPipeline({
    ...{ projects, limits, processor, log, onError },
    settings: { maxBatchWaitMs: 1, ...settings },
  });
  onTestFinished(() => pipeline.close());
  return { pipeline, projects, processor, log, errors, asked };
}

export function projectConfig(fields: MessageInitShape<typeof ProjectConfigSchema> = {}): ProjectConfig {
  return create(ProjectConfigSchema, { ...OWNER, allowedDomains: ['*'], retentionDays: 30, ...fields });
}

export function enabled(fields: MessageInitShape<typeof ProjectConfigSchema> = {}): ProjectState {
  return { kind: 'enabled', config: projectConfig(fields) };
}

export function item(type: string, payload: string | Uint8Array = '{}', fields: Partial<Item> = {}): Item {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  return {
    ...{ type, contentType: undefined, filename: undefined, attachmentType: undefined, headers: {}, payload: bytes },
    ...fields,
  };
}

export function received(
  items: readonly Item[],
  sender: Partial<Sender> = {},
): Received & { readonly eventId: string } {
  const eventId = randomUUID().replaceAll('-', '');
  return {
    eventId,
    envelope: { eventId, sentAtMs: undefined, headers: {}, items },
    sender: {
      ...{ publicKey: KEY, projectId: OWNER.projectId, remoteAddr: '192.0.2.1', origin: undefined },
      ...{ userAgent: undefined, client: undefined, receivedMs: Date.now(), ...sender },
    },
    sizeBytes: items.reduce((sum, { payload }) => sum + payload.byteLength, 500),
  };
}

/** The n-th of as many projects as it takes to fill the queue: none gets more of it than is left. */
export function oneOfMany({ projects }: PipelineUnderTest<Log>, n: number): Partial<Sender> {
  const projectId = BigInt(100 + (n % 50));
  const publicKey = projectId.toString(16).padStart(32, '0');
  if (projects.peek(publicKey).kind === 'pending') projects.set(publicKey, enabled({ projectId }));
  return { publicKey, projectId };
}

/** What is known is what the test says; what isn't is pending until it does. */
export class TestProjects implements ProjectCache {
  readonly #states = new Map<string, ProjectState>([[KEY, enabled()]]);
  readonly #waiting = new Set<() => void>();

  set(publicKey: string, state: ProjectState): void {
    this.#states.set(publicKey, state);
    for (const wake of this.#waiting) wake();
  }

  peek(publicKey: string): ProjectState {
    return this.#states.get(publicKey) ?? { kind: 'pending' };
  }

  get(publicKey: string, timeoutMs: number): Promise<ProjectState> {
    return new Promise((resolve) => {
      const look = (isLast: boolean) => {
        const state = this.peek(publicKey);
        if (state.kind === 'pending' && !isLast) return;
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve(state);
      };
      const wake = () => look(false);
      const timer = setTimeout(() => look(true), timeoutMs);
      this.#waiting.add(wake);
      wake();
    });
  }

  close(): void {}
}

/** Takes payloads as they are; what an item of type `refused` says is refused, and of one that says `die` it dies. */
export class TestProcessor implements Processor {
  readonly batches: number[] = [];

  async process(batch: readonly ProcessInput[]): Promise<readonly Processed[]> {
    this.batches.push(batch.length);
    if (batch.some(({ envelope }) => envelope.items.some(({ payload }) => String(payload) === 'die'))) {
      throw new Error('a thread died');
    }
    return batch.map(({ envelope }) => {
      const { eventId = '', items } = envelope;
      const of = (type: string) => items.filter((each) => each.type === type);
      return {
        events: [
          ...of('event').map(({ payload }) => ({ eventId, category: 'error' as const, payload })),
          ...of('transaction').map(({ payload }) => ({ eventId, category: 'transaction' as const, payload })),
          ...of('feedback').map(({ payload }) => ({ eventId, category: 'feedback' as const, payload })),
        ],
        attachments: of('attachment').map(({ payload, filename: name = 'file', contentType }) => ({
          ...{ eventId, name, contentType, attachmentType: 'event.attachment', payload },
        })),
        userReports: of('user_report').map(({ payload }) => ({ eventId, payload })),
        refused: of('refused').map(({ payload }) => ({ ...JSON.parse(String(payload)), eventId })),
      };
    });
  }

  async close(): Promise<void> {}
}

/** Keeps what it is told, and fails as it is told. */
export class TestLog implements Log {
  readonly kind = 'sqlite';
  readonly records: NewRecord[] = [];
  readonly appended: number[] = [];
  failWith: Error | undefined;
  held: Promise<void> | undefined;

  async append(records: readonly NewRecord[]): Promise<void> {
    await this.held;
    if (this.failWith !== undefined) throw this.failWith;
    this.appended.push(records.length);
    this.records.push(...records);
  }

  messages(): (IngestMessage & { readonly topic: string })[] {
    return this.#of(INGEST_TOPICS).map(({ topic, value }) => ({ topic, ...decodeIngestMessage(value) }));
  }

  outcomes(): (Outcome & { readonly topic: string })[] {
    return this.#of(OUTCOME_TOPICS).map(({ topic, value }) => ({ topic, ...decodeOutcome(value) }));
  }

  #of(topics: readonly string[]): NewRecord[] {
    return this.records.filter(({ topic }) => topics.includes(topic));
  }

  consume(): never {
    throw new Error('nobody consumes here');
  }

  readAll(): never {
    throw new Error('nobody reads here');
  }

  async lag(): Promise<bigint> {
    return 0n;
  }

  async ping(): Promise<void> {}
  async close(): Promise<void> {}
}
