import { sendAccepted, sendEmpty } from './answers.ts';
import type { Item } from './envelope.ts';
import { newEventId } from './envelope-event-id.ts';
import { MAX_ITEMS } from './envelope-limits.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { envelopeOf, type IntakeCall, itemOf } from './http-call.ts';
import { queryParameter } from './http-query.ts';
import type { Accepted } from './intake.ts';

const CONTENT_TYPES = ['application/json', 'application/csp-report', 'application/reports+json'];
const MAX_VALUE_LENGTH = 200;

/**
 * `POST /api/{project}/security/` and `/csp-report/`: what browsers report. A list has many reports; each becomes an
 * event, and so an envelope, of its own. @throws EnvelopeRefusal
 */
export async function takeSecurity(call: IntakeCall): Promise<void> {
  if (!CONTENT_TYPES.includes(call.contentType)) throw new EnvelopeRefusal('unknown_content_type');
  const body = await call.read(call.options.limits.maxEventBytes);
  if (body.byteLength === 0) throw new EnvelopeRefusal('empty_body');
  const more: Partial<Item> = { contentType: call.contentType, headers: headersOf(call.query) };
  const answers = reportsOf(body).map((payload) =>
    call.accept(envelopeOf(newEventId(), [itemOf('raw_security', payload, more)]), payload.byteLength),
  );
  sendAccepted(call.response, worstOf(answers), () => sendEmpty(call.response, 200));
}

/** What the report's address says of the application. */
function headersOf(query: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of ['sentry_release', 'sentry_environment']) {
    const value = queryParameter(query, name);
    if (value !== undefined && value !== '') headers[name] = value.slice(0, MAX_VALUE_LENGTH);
  }
  return headers;
}

function reportsOf(body: Buffer): Buffer[] {
  let json: unknown;
  try {
    json = JSON.parse(body.toString());
  } catch (cause) {
    throw new EnvelopeRefusal('invalid_json', { cause });
  }
  const isReport = (report: unknown) => typeof report === 'object' && report !== null && !Array.isArray(report);
  if (isReport(json)) return [body];
  if (!Array.isArray(json) || !json.every(isReport)) throw new EnvelopeRefusal('invalid_json');
  if (json.length > MAX_ITEMS) throw new EnvelopeRefusal('too_many_items');
  try {
    return json.map((report) => Buffer.from(JSON.stringify(report)));
  } catch (cause) {
    // So deep that it can be read, but not written.
    throw new EnvelopeRefusal('invalid_json', { cause });
  }
}

/** One answer for all: of those that say no, the first. Without any there is nothing to say no to. */
function worstOf(answers: readonly Accepted[]): Accepted {
  const isTaken = (accepted: Accepted) => accepted.kind === 'queued' && accepted.limits.length === 0;
  return (
    answers.find((accepted) => !isTaken(accepted)) ??
    answers[0] ?? { kind: 'queued', limits: [], settled: Promise.resolve(true) }
  );
}
