import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { ListOutcomesRequest } from '#gen/tideway/events/v1/event_service_pb.ts';
import type { Principal } from '#lib/auth/principal.ts';
import type { OutcomeCount, OutcomeTotal } from '#lib/event-store/event-store.ts';
import { invalidField } from '#lib/server/refusal.ts';
import { type EventReading, reachEvents } from './caller.ts';
import { outcomeCountOf } from './messages.ts';

const HOUR_MS = 3_600_000;
const DEFAULT_SPAN_MS = 24 * HOUR_MS;
const MAX_COUNTS = 10_000;

export async function listOutcomes(reading: EventReading, request: ListOutcomesRequest, principal: Principal) {
  const whose = await reachEvents(reading, principal, request);
  const endMs = request.endTime === undefined ? reading.now() : timestampMs(request.endTime);
  const startMs = request.startTime === undefined ? endMs - DEFAULT_SPAN_MS : timestampMs(request.startTime);
  if (startMs > endMs) throw invalidField('start_time', 'must not be after end_time');
  const counts = await reading.events.outcomes({
    ...whose,
    keyId: request.keyId === 0n ? undefined : request.keyId,
    category: request.category || undefined,
    fromMs: hourOf(startMs),
    toMs: hourOf(endMs) + HOUR_MS,
    limit: MAX_COUNTS + 1,
  });
  if (counts.length > MAX_COUNTS) {
    throw invalidField('start_time', `there are more than ${MAX_COUNTS} counts: ask for less time, or one project`);
  }
  return { counts: counts.map(outcomeCountOf), totals: sumsOf(counts).map(outcomeCountOf) };
}

function hourOf(ms: number): number {
  return ms - (ms % HOUR_MS);
}

function sumsOf(counts: readonly OutcomeCount[]): OutcomeTotal[] {
  const sums = new Map<string, OutcomeTotal>();
  for (const { hourMs: _, ...count } of counts) {
    const key = [count.projectId, count.keyId, count.outcome, count.reason, count.category].join('\n');
    const sum = sums.get(key);
    sums.set(
      key,
      sum === undefined ? count : { ...sum, quantity: sum.quantity + count.quantity, times: sum.times + count.times },
    );
  }
  return [...sums.values()];
}
