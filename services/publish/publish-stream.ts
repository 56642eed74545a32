import { type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { PublishStreamRequest, PublishStreamResponseSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import type { Broker, PublishRate } from '#lib/broker/broker.ts';
import { endOfTurn } from '#lib/server/end-of-turn.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { toStatus } from '#lib/server/rpc-status.ts';
import type { CancelWatches } from './cancel-watches.ts';
import { Pipeline, type PipelineAnswer } from './pipeline.ts';
import { checkMessage } from './publish-message.ts';

export type StreamAnswer = MessageInitShape<typeof PublishStreamResponseSchema>;

/** Who publishes, and where to. */
export interface PublishStreamContext {
  readonly gate: Gate;
  readonly broker: Broker;
  readonly claims: PublishClaims;
  readonly rate: PublishRate;
  readonly watches: CancelWatches;
}

/**
 * PublishStream as connect-node has it, for the calls that publish-stream-calls.ts leaves to it. Answers each message in
 * order. Over the rate nothing is refused; the call is read more slowly, and the caller's flow control does the rest.
 * @param signal Aborted when this server drains, and when the caller goes.
 */
export async function* publishStream(
  requests: AsyncIterable<PublishStreamRequest>,
  context: PublishStreamContext,
  signal: AbortSignal,
): AsyncGenerator<StreamAnswer> {
  let wake = () => {};
  let failure: { readonly error: unknown } | undefined;
  let isRead = false;
  const changed = () => wake();
  const fail = (error: unknown) => {
    failure ??= { error };
    wake();
  };
  const pipeline = new Pipeline({ ...context, onAnswers: changed, onFailure: fail });
  const room = () => new Promise<void>((resolve) => roomWaiters.push(resolve));
  const roomWaiters: (() => void)[] = [];

  async function readAll(): Promise<void> {
    for await (const { message } of untilAborted(requests, signal)) {
      acceptDecoded(pipeline, message, context);
      // Together with what else arrives in this turn.
      void endOfTurn().then(() => pipeline.flush());
      while (pipeline.isFull && !signal.aborted && failure === undefined) await room();
      if (failure !== undefined) return;
    }
    pipeline.flush();
    if (signal.aborted) pipeline.stop();
  }
  const onAbort = () => {
    pipeline.stop();
    for (const resolve of roomWaiters.splice(0)) resolve();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  let readError: { readonly error: unknown } | undefined;
  const reading = readAll().catch((error) => {
    // What came before it is answered first.
    pipeline.flush();
    readError = { error };
  });
  void reading.then(() => {
    isRead = true;
    wake();
  });

  let position = 0n;
  try {
    for (;;) {
      if (failure !== undefined) throw failure.error;
      const answers = pipeline.take();
      for (const resolve of roomWaiters.splice(0)) resolve();
      for (const answer of answers) yield { position: position++, result: resultOf(answer) };
      const cancelled = pipeline.takeCancelled();
      for (const value of cancelled) yield { result: { case: 'cancelled', value } };
      if (answers.length + cancelled.length > 0) continue;
      if (isRead && pipeline.isEmpty) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (readError !== undefined) throw readError.error;
    if (signal.aborted) throw new Refusal('draining');
  } finally {
    signal.removeEventListener('abort', onAbort);
    pipeline.stop();
    failure ??= { error: undefined };
    for (const resolve of roomWaiters.splice(0)) resolve();
  }
}

/** Lets a decoded message in, or answers what is wrong with it. */
export function acceptDecoded(
  pipeline: Pipeline,
  message: PublishRequest | undefined,
  { gate, claims }: PublishStreamContext,
): void {
  try {
    if (message === undefined) throw invalidField('message', 'is not set');
    requireUnexpired(claims);
    gate.validate(PublishRequestSchema, message);
    gate.requireClaims(claims, message.orgId, message.channelId);
    pipeline.push(checkMessage(message), toBinary(PublishRequestSchema, message));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    pipeline.refuse(error);
  }
}

/** @throws Refusal */
export function requireUnexpired({ expiresAtMs }: PublishClaims): void {
  if (expiresAtMs <= Date.now()) throw new Refusal('token_expired');
}

export function resultOf(answer: PipelineAnswer): NonNullable<StreamAnswer['result']> {
  return answer instanceof Refusal
    ? { case: 'error', value: toStatus(answer) }
    : { case: 'published', value: { id: answer.id, duplicate: answer.duplicate } };
}

/** Hands on what arrives until `signal` aborts, even while it waits for the next. */
async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let stop = () => {};
  signal.addEventListener('abort', () => stop(), { once: true });
  for (;;) {
    // One promise a message: racing each `next` against one long-lived promise would keep every reaction until the end.
    const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
      stop = () => resolve({ done: true, value: undefined });
      if (signal.aborted) stop();
      else iterator.next().then(resolve, reject);
    });
    if (next.done === true) return;
    yield next.value;
  }
}
