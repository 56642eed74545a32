import { DATA_CATEGORIES, type DataCategory, dataCategoryOf } from './data-category.ts';

/** What became of something that arrived, by the numbers that Sentry's services have for it. */
export const OUTCOMES = {
  accepted: 0,
  filtered: 1,
  rate_limited: 2,
  invalid: 3,
  abuse: 4,
  client_discard: 5,
  cardinality_limited: 6,
} as const;

export type OutcomeName = keyof typeof OUTCOMES;

/** What became of some quantity of a category, and why. */
export interface Outcome {
  readonly timestampMs: number;
  readonly outcome: OutcomeName;
  /** Undefined where the project was not known. */
  readonly organizationId: bigint | undefined;
  readonly projectId: bigint | undefined;
  readonly keyId: bigint | undefined;
  /** Undefined for what was accepted. */
  readonly reason: string | undefined;
  /** 32 lower-case hex digits, where it is about an event or what came with one. */
  readonly eventId: string | undefined;
  readonly remoteAddr: string | undefined;
  readonly category: DataCategory;
  /** Of `attachment` bytes. */
  readonly quantity: number;
  /** Undefined: nobody can tell it from one that is the same and was appended again. */
  readonly stamp?: OutcomeStamp | undefined;
}

/**
 * By what an outcome is known again that was appended twice, as whoever appended it did not hear that it had worked. A writer
 * appends its outcomes one after the other, by rising sequence, each until it hears that; and has nobody else's name.
 */
export interface OutcomeStamp {
  readonly writer: string;
  readonly sequence: number;
}

/**
 * Whether it is the first time that an outcome is seen: a writer's come to a partition by rising sequence, and an append that is
 * repeated begins again with its first. Remembers it in `lastOfWriters`, by `key`, which is one for each writer and partition.
 */
export function isFirstOf(lastOfWriters: Map<string, number>, key: string, sequence: number): boolean {
  if (sequence <= (lastOfWriters.get(key) ?? -1)) return false;
  lastOfWriters.set(key, sequence);
  return true;
}

export const MAX_WRITER_LENGTH = 64;

const OUTCOME_NAMES = Object.keys(OUTCOMES) as OutcomeName[];

/** The JSON of the outcomes topic. */
export function encodeOutcome(outcome: Outcome): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      timestamp: microseconds(outcome.timestampMs),
      org_id: numberOf(outcome.organizationId),
      project_id: numberOf(outcome.projectId),
      key_id: numberOf(outcome.keyId),
      outcome: OUTCOMES[outcome.outcome],
      reason: outcome.reason ?? null,
      event_id: outcome.eventId ?? null,
      remote_addr: outcome.remoteAddr ?? null,
      category: DATA_CATEGORIES[outcome.category],
      quantity: outcome.quantity,
      ...(outcome.stamp && { writer: outcome.stamp.writer, writer_sequence: outcome.stamp.sequence }),
    }),
  );
}

/** The same, to be counted whatever came before it: as something that could not be counted when it came. */
export function withoutStamp(value: Uint8Array): Uint8Array {
  try {
    const { writer: _, writer_sequence: __, ...rest } = parse(value);
    return Buffer.from(JSON.stringify(rest));
  } catch (error) {
    if (error instanceof MalformedOutcomeError) return value;
    throw error;
  }
}

/** What is no outcome: it is put aside with the reason. */
export class MalformedOutcomeError extends Error {
  override readonly name = 'MalformedOutcomeError';
}

/** @throws MalformedOutcomeError */
export function decodeOutcome(value: Uint8Array): Outcome {
  const json = parse(value);
  const timestampMs = Date.parse(String(json['timestamp']));
  const name = OUTCOME_NAMES.find((each) => OUTCOMES[each] === json['outcome']);
  const category = dataCategoryOf(Number(json['category'] ?? 0));
  const quantity = Number(json['quantity'] ?? 1);
  if (Number.isNaN(timestampMs)) throw new MalformedOutcomeError('timestamp is no time');
  if (name === undefined) throw new MalformedOutcomeError('outcome is no number of an outcome');
  if (category === undefined) throw new MalformedOutcomeError('category is no number of a category');
  if (!Number.isSafeInteger(quantity) || quantity < 0) throw new MalformedOutcomeError('quantity is no whole number');
  return {
    timestampMs,
    outcome: name,
    organizationId: idOf(json, 'org_id'),
    projectId: idOf(json, 'project_id'),
    keyId: idOf(json, 'key_id'),
    reason: textOf(json, 'reason'),
    eventId: textOf(json, 'event_id'),
    remoteAddr: textOf(json, 'remote_addr'),
    category,
    quantity,
    stamp: stampOf(json),
  };
}

/** Others may mean something else by these names. */
function stampOf({ writer, writer_sequence: sequence }: Record<string, unknown>): OutcomeStamp | undefined {
  if (typeof writer !== 'string' || writer === '' || writer.length > MAX_WRITER_LENGTH) return undefined;
  return Number.isSafeInteger(sequence) && (sequence as number) >= 0
    ? { writer, sequence: sequence as number }
    : undefined;
}

function parse(value: Uint8Array): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString());
  } catch (cause) {
    throw new MalformedOutcomeError('not JSON', { cause });
  }
  if (typeof json !== 'object' || json === null) throw new MalformedOutcomeError('not an object');
  return json as Record<string, unknown>;
}

function idOf(json: Record<string, unknown>, name: string): bigint | undefined {
  const value = json[name] ?? undefined;
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new MalformedOutcomeError(`${name} is no number`);
  return BigInt(value as number);
}

function textOf(json: Record<string, unknown>, name: string): string | undefined {
  const value = json[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw new MalformedOutcomeError(`${name} is no text`);
  return value;
}

function numberOf(id: bigint | undefined): number | null {
  return id === undefined ? null : Number(id);
}

/** As Sentry's consumers read it: RFC 3339 in UTC with six digits. */
function microseconds(timestampMs: number): string {
  return new Date(timestampMs).toISOString().replace('Z', '000Z');
}
