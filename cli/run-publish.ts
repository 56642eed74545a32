import { addAbortSignal, type Readable } from 'node:stream';
import type { JsonObject } from '@bufbuild/protobuf';
import type { PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import type { PublishResponse } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { bearer, CALL_TIMEOUT_MS, startStream } from './edge.ts';
import { readText } from './lines.ts';
import { InputError, MAX_TEXT_BYTES, messageOf, messagesOfLines, parsePayload } from './messages.ts';
import { printable } from './output.ts';
import { publishInOrder } from './publish-in-order.ts';
import type { PublishOptions } from './publish-options.ts';
import { withRetries } from './retry.ts';
import type { Session } from './session.ts';
import { EXIT, pasteable } from './usage.ts';

/**
 * Publishes what the options say, from `input` where they say so, and writes the ids of what is stored.
 * `stop` ends the input, and so does a listener who cancels the stream: what was read is published, and then, as nothing else
 * will end the stream, its END.
 */
export async function runPublish(
  session: Session,
  options: PublishOptions,
  input: Readable,
  stop: AbortSignal,
): Promise<number> {
  const published =
    options.what.kind === 'lines'
      ? publishLines(session, options, options.what, input, stop)
      : publishOne(session, await oneMessage(session, options, options.what, input));
  for await (const { id } of published) {
    if (!options.quiet) await session.stdout.write(`${id}\n`);
  }
  return EXIT.ok;
}

type One = Extract<PublishOptions['what'], { kind: 'one' }>;
type Lines = Extract<PublishOptions['what'], { kind: 'lines' }>;

async function* publishLines(
  session: Session,
  options: PublishOptions,
  { start, end }: Lines,
  input: Readable,
  stop: AbortSignal,
): AsyncGenerator<PublishResponse> {
  const cancelled = new AbortController();
  const chunks = readUntil(input, AbortSignal.any([stop, cancelled.signal]));
  const messages = messagesOfLines(chunks, {
    orgId: session.target.orgId,
    channelId: options.channelId ?? (await newChannel(session, options)),
    firstSequence: options.sequence,
    json: options.json,
    coalesceWindowMs: options.coalesceWindowMs,
    start,
    end,
    mustEnd: () => cancelled.signal.aborted,
  });
  const { edge, target, backoff, listener } = session;
  const onCancelled = (reason: string) => {
    if (cancelled.signal.aborted) return;
    cancelled.abort();
    const said = printable(reason.trim()).replaceAll('\n', ' ');
    void session.stderr.write(`A listener cancelled the stream${said === '' ? '' : `: ${said}`}. It ends here.\n`);
  };
  yield* publishInOrder(edge.publisher, messages, { token: target.publishToken, backoff, listener, onCancelled });
}

async function* publishOne(session: Session, message: PublishRequest): AsyncGenerator<PublishResponse> {
  const { edge, target, backoff, listener } = session;
  const call = { ...bearer(target.publishToken), timeoutMs: CALL_TIMEOUT_MS };
  // The message id stays the same from one attempt to the next, so it is stored once.
  yield await withRetries(() => edge.publisher.publish(message, call), backoff, listener);
}

async function oneMessage(session: Session, options: PublishOptions, one: One, input: Readable) {
  const text = one.needsInput ? await readText(readUntil(input), MAX_TEXT_BYTES) : one.text;
  if (one.needsInput && text === undefined) {
    throw new InputError(
      `The input is longer than the ${MAX_TEXT_BYTES} bytes of one message. --lines publishes it whole.`,
    );
  }
  // A command before the pipe that failed writes nothing. Whoever means an empty text can say so.
  if (one.needsInput && text === '') throw new InputError('Nothing to publish: the input is empty.');
  const fields = {
    orgId: session.target.orgId,
    phase: one.phase,
    sequence: options.sequence,
    messageId: one.messageId,
    payload: text === undefined ? undefined : payloadOf(text, options.json),
    coalesceWindowMs: options.coalesceWindowMs,
  };
  // What can't be published should not make a channel first: the size is checked with an id of the same length.
  if (options.channelId === undefined) messageOf({ ...fields, channelId: crypto.randomUUID() });
  return messageOf({ ...fields, channelId: options.channelId ?? (await newChannel(session, options)) });
}

function payloadOf(text: string, json: boolean): JsonObject {
  return json ? parsePayload(text, 'The text') : { text };
}

async function newChannel(session: Session, { target: flags }: PublishOptions): Promise<string> {
  const start = () => startStream(session.edge, session.target, undefined);
  const { channelId } = await withRetries(start, session.backoff, session.listener);
  const listen = pasteable('listen', { channel: channelId, url: flags.url, org: flags.org });
  await session.stderr.write(`New channel ${channelId}. To listen:\n  ${listen}\n`);
  return channelId;
}

async function* readUntil(input: Readable, stop?: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stop ? addAbortSignal(stop, input) : input) yield chunk;
  } catch (error) {
    if (stop?.aborted) return;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new InputError(`Standard input can't be read: ${code}.`);
  }
}
