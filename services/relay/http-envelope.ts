import { sendAccepted, sendId } from './answers.ts';
import { parseDsn } from './auth-dsn.ts';
import type { Sender } from './envelope.ts';
import { hasEvent } from './envelope-limits.ts';
import { type ParsedEnvelope, parseEnvelope } from './envelope-parse.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import type { IntakeCall } from './http-call.ts';

/** `POST /api/{project}/envelope/`, of whatever content type: browsers send `text/plain`. @throws EnvelopeRefusal */
export async function takeEnvelope(call: IntakeCall): Promise<void> {
  const body = await call.read(call.options.limits.maxEnvelopeBytes);
  const parsed = parseEnvelope(body, call.options.limits.maxEventBytes);
  const sender = call.sender ?? senderByDsn(call, parsed);
  requireSame(parsed, sender);
  const { envelope } = parsed;
  const accepted = call.accept(envelope, body.byteLength);
  sendAccepted(call.response, accepted, () =>
    sendId(call.response, hasEvent(envelope.items) ? envelope.eventId : undefined),
  );
}

function senderByDsn(call: IntakeCall, { dsn }: ParsedEnvelope): Sender {
  if (dsn === undefined) throw new EnvelopeRefusal('missing_auth');
  const { publicKey, projectId } = parseDsn(dsn);
  return call.setSender({ publicKey, client: undefined }, call.projectId ?? projectId);
}

/** An envelope that says who it is from says what its request says. */
function requireSame({ dsn, origin }: ParsedEnvelope, sender: Sender): void {
  if (dsn !== undefined) {
    const { publicKey, projectId } = parseDsn(dsn);
    if (publicKey !== sender.publicKey || (sender.projectId ?? projectId) !== projectId) {
      throw new EnvelopeRefusal('dsn_differs');
    }
  }
  if (origin !== undefined && sender.origin !== undefined && origin !== sender.origin) {
    throw new EnvelopeRefusal('origin_differs');
  }
}
