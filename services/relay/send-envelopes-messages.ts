import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type Envelope as EnvelopeMessage,
  RateLimit_Scope,
  type RateLimitSchema,
  type SendEnvelopesRequest,
  type SendEnvelopesResponse,
  SendEnvelopesResponseSchema,
} from '#gen/tideway/relay/v1/relay_service_pb.ts';
import type { ActiveLimit } from '#lib/limits/limits.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { toStatus } from '#lib/server/rpc-status.ts';
import { REFUSED_DETAILS } from './answers.ts';
import type { Envelope, Item, Sender } from './envelope.ts';
import { hasEvent } from './envelope-limits.ts';
import { checkDepth, eventIdOf, sentAtOf } from './envelope-parse.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import type { Accepted } from './intake.ts';
import { retryAfterSec, secondsLeft } from './rate-limit-header.ts';

/** An envelope of the contract as the intake has it. Payloads are views of the message. @throws EnvelopeRefusal */
export function envelopeOfMessage(message: EnvelopeMessage, maxEventBytes: number): Envelope {
  const { eventId, sentAt, headersJson, items: sent } = message;
  const items = sent.map(
    (item): Item => ({
      type: item.type,
      contentType: item.contentType || undefined,
      filename: item.filename || undefined,
      attachmentType: item.attachmentType || undefined,
      headers: headersOf(item.headersJson),
      payload: item.payload,
    }),
  );
  return {
    eventId: eventIdOf(eventId || undefined, items, maxEventBytes),
    sentAtMs: sentAt === undefined ? undefined : sentAtOf(timestampMs(sentAt)),
    headers: headersOf(headersJson),
    items,
  };
}

/** Who sends, by the word of a relay that is ours. */
export function senderOfRelay({ sender: told }: SendEnvelopesRequest, own: Sender): Sender {
  if (told === undefined) return own;
  const { receiveTime } = told;
  return {
    ...own,
    remoteAddr: told.remoteAddr || undefined,
    origin: told.origin || undefined,
    userAgent: told.userAgent || undefined,
    client: told.client || undefined,
    receivedMs: receiveTime === undefined ? own.receivedMs : receivedMsOf(timestampMs(receiveTime), own.receivedMs),
  };
}

/** Clocks differ: nothing was received later than now; and what no record of the log can have as a time is none. */
function receivedMsOf(toldMs: number, ownMs: number): number {
  return toldMs < 0 ? ownMs : Math.min(toldMs, ownMs);
}

/** By what the intake says, and whether what it took is in the log. */
export function answerOf(
  sequence: bigint,
  envelope: Envelope,
  accepted: Accepted,
  isSettled: boolean,
): SendEnvelopesResponse {
  const limits = accepted.kind === 'queued' || accepted.kind === 'limited' ? accepted.limits : [];
  const refusal = refusalOf(accepted, isSettled);
  return create(SendEnvelopesResponseSchema, {
    sequence,
    eventId: hasEvent(envelope.items) ? (envelope.eventId ?? '') : '',
    ...(refusal === undefined ? {} : { error: toStatus(refusal) }),
    rateLimits: limits.map((limit) => rateLimitOf(limit, Date.now())),
  });
}

export function answerOfRefusal(sequence: bigint, error: Refusal): SendEnvelopesResponse {
  return create(SendEnvelopesResponseSchema, { sequence, error: toStatus(error) });
}

/** What is refused over HTTP by one table is refused here by the table of RPCs. */
export function toRefusal(error: EnvelopeRefusal): Refusal {
  const more = { text: error.item === undefined ? error.message : `${error.message}: ${error.item}`, cause: error };
  return new Refusal(error.status === 413 ? 'too_large' : 'invalid_argument', more);
}

function refusalOf(accepted: Accepted, isSettled: boolean): Refusal | undefined {
  switch (accepted.kind) {
    case 'queued':
      if (!isSettled) return new Refusal('intake_overloaded', { text: 'It was lost here: send it again' });
      return accepted.limits.length === 0 ? undefined : overLimit(accepted.limits);
    case 'limited':
      return overLimit(accepted.limits);
    case 'refused':
      return new Refusal('intake_refused', { text: REFUSED_DETAILS[accepted.reason] });
    case 'overloaded':
      return new Refusal('intake_overloaded');
  }
}

function overLimit(limits: readonly ActiveLimit[]): Refusal {
  return new Refusal('rate_limited', { retryAfterMs: retryAfterSec(limits, Date.now()) * 1000 });
}

const SCOPES = {
  organization: RateLimit_Scope.ORGANIZATION,
  project: RateLimit_Scope.PROJECT,
  key: RateLimit_Scope.KEY,
} as const;

function rateLimitOf(limit: ActiveLimit, nowMs: number): MessageInitShape<typeof RateLimitSchema> {
  return {
    categories: [...limit.categories],
    scope: SCOPES[limit.scope],
    reasonCode: limit.reasonCode ?? '',
    retryAfterSec: secondsLeft(limit, nowMs),
  };
}

function headersOf(json: string): Record<string, unknown> {
  if (json === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new EnvelopeRefusal('invalid_envelope', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new EnvelopeRefusal('invalid_envelope');
  }
  return checkDepth(value as Record<string, unknown>);
}
