import { type DeadLetter, decodeDeadLetter, MalformedDeadLetterError } from '#lib/ingest/dead-letter.ts';
import { withoutStamp } from '#lib/ingest/outcome.ts';
import { deadLetterTopic, GROUPS, OUTCOME_TOPICS } from '#lib/ingest/topics.ts';
import type { Log, LogBatch } from '#lib/log/log.ts';

export interface ReplayOptions {
  readonly log: Log;
  /** Of the records, not of the dead letters. */
  readonly topics: readonly string[];
  readonly limit: number;
  /** How long the log may do nothing before it is given up on. */
  readonly patienceMs?: number | undefined;
}

export interface Replayed {
  readonly appended: number;
  /** Dead letters that are not whole, or none at all: they stay where they are. */
  readonly skipped: number;
  readonly left: bigint;
}

/** The log did not go on. */
export class ReplayStuckError extends Error {
  override readonly name = 'ReplayStuckError';
}

const MAX_BATCH_RECORDS = 100;
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
const PATIENCE_MS = 30_000;
const POLL_MS = 50;

/**
 * Appends dead letters to their topics again, each where the one before it has ended: a group of its own remembers how far it
 * is. Killed in the middle it may append some twice; an event is still stored once.
 * @throws LogUnavailableError @throws ReplayStuckError
 */
export async function replayDeadLetters(options: ReplayOptions): Promise<Replayed> {
  const { log, limit, patienceMs = PATIENCE_MS } = options;
  const topics = options.topics.map(deadLetterTopic);
  // What can't be handled this time either becomes a dead letter anew, behind these.
  const atOnce = Number(await log.lag(GROUPS.replay, topics));
  const budget = Math.min(limit, atOnce);
  const counts = { appended: 0, skipped: 0 };
  let taken = 0;
  let failure: unknown;
  let movedMs = performance.now();

  async function handle({ records }: LogBatch): Promise<void> {
    if (taken >= budget) throw new LimitReached();
    taken += records.length;
    const letters = records.map(({ value }) => wholeLetter(value));
    const whole = letters.filter((letter) => letter !== undefined);
    try {
      await log.append(whole);
    } catch (error) {
      taken -= records.length;
      throw error;
    }
    counts.appended += whole.length;
    counts.skipped += letters.length - whole.length;
    movedMs = performance.now();
  }

  const consumer = log.consume({
    group: GROUPS.replay,
    topics,
    // One by one where it has to end exactly somewhere.
    maxBatchRecords: limit < atOnce ? 1 : MAX_BATCH_RECORDS,
    maxBatchBytes: MAX_BATCH_BYTES,
    handle,
    onError: (error) => {
      if (!(error instanceof LimitReached)) failure = error;
    },
  });
  try {
    while (counts.appended + counts.skipped < budget && (await log.lag(GROUPS.replay, topics)) > 0n) {
      if (performance.now() - movedMs > patienceMs) {
        throw new ReplayStuckError(`nothing was replayed for ${patienceMs / 1000} s`, { cause: failure });
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    await consumer.close();
  }
  return { ...counts, left: await log.lag(GROUPS.replay, topics) };
}

/** All dead letters that the log has, also those that were replayed. */
export async function* listDeadLetters(log: Log, topics: readonly string[]): AsyncGenerator<DeadLetter> {
  for (const topic of topics) {
    for await (const { records } of log.readAll(deadLetterTopic(topic))) {
      for (const { value } of records) {
        const letter = letterOf(value);
        if (letter !== undefined) yield letter;
      }
    }
  }
}

class LimitReached extends Error {
  override readonly name = 'LimitReached';
}

function wholeLetter(value: Uint8Array): DeadLetter | undefined {
  const letter = letterOf(value);
  if (letter === undefined || letter.value.byteLength !== letter.valueBytes) return undefined;
  // Its writer's later outcomes have been counted since: by its stamp it would be taken for one of those before.
  const isOutcome = OUTCOME_TOPICS.some((topic) => topic === letter.topic);
  return isOutcome ? { ...letter, value: withoutStamp(letter.value) } : letter;
}

function letterOf(value: Uint8Array): DeadLetter | undefined {
  try {
    return decodeDeadLetter(value);
  } catch (error) {
    if (error instanceof MalformedDeadLetterError) return undefined;
    throw error;
  }
}
