import { create } from '@bufbuild/protobuf';
import {
  EnvelopeSchema,
  type SendEnvelopesRequest,
  SendEnvelopesRequestSchema,
  type SendEnvelopesResponse,
} from '#gen/tideway/relay/v1/relay_service_pb.ts';
import type { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { Envelope, Sender } from './envelope.ts';
import { checkItems, type EnvelopeLimits } from './envelope-limits.ts';
import { memoryOf } from './envelope-memory.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import type { InvalidRequest } from './http-call.ts';
import type { Accepted, Intake } from './intake.ts';
import { answerOf, answerOfRefusal, envelopeOfMessage, senderOfRelay, toRefusal } from './send-envelopes-messages.ts';

/** Of one call: what was taken and not answered. Then the call is read no further, and flow control does the rest. */
const MAX_UNANSWERED = 256;
const MAX_UNANSWERED_BYTES = 64 * 1024 * 1024;

export interface SendEnvelopesContext {
  readonly gate: Gate;
  readonly intake: Intake;
  readonly limits: EnvelopeLimits;
  readonly onInvalid: (invalid: InvalidRequest) => void;
  /** Whether what is said of the sender is believed. */
  readonly isRelay: boolean;
  /** The caller itself, as its headers say. */
  readonly caller: Pick<Sender, 'remoteAddr' | 'origin' | 'userAgent'>;
  /** Aborted when this server drains: then nothing more is taken, and the call ends once what was taken is answered. */
  readonly draining: AbortSignal;
  /** Aborted when the caller goes, and when a drain can wait no longer. */
  readonly signal: AbortSignal;
}

/**
 * Answers each envelope when it is in the log, or is known not to get there; so not in the order that they came in. Ends
 * when all are answered that came before the caller ended; when the server drains, when all are that were taken before. What
 * has no answer then is sent again: of what was taken its outcomes would count twice.
 */
export async function* sendEnvelopes(
  requests: AsyncIterable<SendEnvelopesRequest>,
  context: SendEnvelopesContext,
): AsyncGenerator<SendEnvelopesResponse> {
  const call = new Call(requests, context);
  try {
    yield* call.answers();
  } finally {
    call.stop();
  }
}

class Call {
  readonly #requests: AsyncIterator<SendEnvelopesRequest>;
  readonly #context: SendEnvelopesContext;
  readonly #answers: { readonly answer: SendEnvelopesResponse; readonly bytes: number }[] = [];
  #unanswered = 0;
  #unansweredBytes = 0;
  #hasEnded = false;
  #isStopped = false;
  #failure: unknown;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(requests: AsyncIterable<SendEnvelopesRequest>, context: SendEnvelopesContext) {
    this.#requests = requests[Symbol.asyncIterator]();
    this.#context = context;
  }

  async *answers(): AsyncGenerator<SendEnvelopesResponse> {
    const { draining, signal } = this.#context;
    const wake = () => this.#wakeWriter?.();
    for (const each of [draining, signal]) each.addEventListener('abort', wake, { once: true });
    void this.#read();
    try {
      for (;;) {
        for (let next = this.#answers.shift(); next !== undefined; next = this.#answers.shift()) {
          yield next.answer;
          this.#unanswered--;
          this.#unansweredBytes -= next.bytes;
          this.#wakeReader?.();
        }
        if (signal.aborted) throw new Refusal('draining');
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#hasEnded && this.#unanswered === 0) return;
        if (draining.aborted && this.#unanswered === 0) throw new Refusal('draining');
        await new Promise<void>((resolve) => {
          this.#wakeWriter = resolve;
        });
      }
    } finally {
      for (const each of [draining, signal]) each.removeEventListener('abort', wake);
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#wakeReader?.();
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    try {
      while (!this.#isStopped) {
        const next = await this.#requests.next();
        if (next.done === true) break;
        if (this.#context.draining.aborted) return;
        this.#take(next.value);
        while (this.#isFull && !this.#isStopped) {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#hasEnded = true;
    this.#wakeWriter?.();
  }

  get #isFull(): boolean {
    return this.#unanswered >= MAX_UNANSWERED || this.#unansweredBytes >= MAX_UNANSWERED_BYTES;
  }

  #take(request: SendEnvelopesRequest): void {
    const bytes = sizeOf(request);
    this.#unanswered++;
    this.#unansweredBytes += bytes;
    const put = (answer: SendEnvelopesResponse) => {
      this.#answers.push({ answer, bytes });
      this.#wakeWriter?.();
    };
    const { sequence } = request;
    try {
      const { envelope, accepted } = this.#accept(request, bytes);
      if (accepted.kind !== 'queued') put(answerOf(sequence, envelope, accepted, true));
      else void accepted.settled.then((isSettled) => put(answerOf(sequence, envelope, accepted, isSettled)));
    } catch (error) {
      put(answerOfRefusal(sequence, refusalOf(error)));
    }
  }

  /** @throws Refusal, EnvelopeRefusal */
  #accept(request: SendEnvelopesRequest, messageBytes: number): { envelope: Envelope; accepted: Accepted } {
    const { gate, intake, limits, onInvalid } = this.#context;
    if (!PUBLIC_KEY.test(request.publicKey)) throw new Refusal('public_key_malformed');
    gate.validate(SendEnvelopesRequestSchema, request);
    const sender = this.#senderOf(request);
    try {
      const envelope = envelopeOfMessage(request.envelope ?? create(EnvelopeSchema), limits.maxEventBytes);
      checkItems(envelope.items, limits);
      return {
        envelope,
        accepted: intake.accept({ sender, envelope, sizeBytes: memoryOf(sender, envelope, messageBytes) }),
      };
    } catch (error) {
      if (error instanceof EnvelopeRefusal && error.outcome !== undefined) {
        onInvalid({ sender, reason: error.outcome, category: error.category ?? 'error' });
      }
      throw error;
    }
  }

  #senderOf(request: SendEnvelopesRequest): Sender {
    const { caller, isRelay } = this.#context;
    const own: Sender = {
      ...caller,
      publicKey: request.publicKey.toLowerCase(),
      projectId: request.projectId === 0n ? undefined : request.projectId,
      client: undefined,
      receivedMs: Date.now(),
    };
    return isRelay ? senderOfRelay(request, own) : own;
  }
}

const PUBLIC_KEY = /^[0-9a-f]{32}$/i;

/** What nobody expected ends the call. */
function refusalOf(error: unknown): Refusal {
  if (error instanceof EnvelopeRefusal) return toRefusal(error);
  if (error instanceof Refusal) return error;
  throw error;
}

/** Of the message: payloads are views of it, and so keep all of it. */
function sizeOf({ envelope }: SendEnvelopesRequest): number {
  if (envelope === undefined) return 0;
  let bytes = envelope.headersJson.length;
  for (const { payload, headersJson, filename, contentType } of envelope.items) {
    bytes += payload.byteLength + headersJson.length + filename.length + contentType.length;
  }
  return bytes;
}
