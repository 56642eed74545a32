import type { Transaction } from 'kysely';
import type { Outcome } from '#lib/ingest/outcome.ts';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { encodeBody } from './body-codec.ts';
import type { EventDatabase } from './database.ts';
import { dayOf, expiresDayOf } from './days.ts';
import { bytesOfEventId } from './event-id.ts';
import type { Effect, EffectBatch, NewEvent, Owner } from './event-store.ts';
import { OutcomeCounter } from './outcome-counter.ts';
import { lockPosition, movePosition } from './positions.ts';
import { takeNewOutcomes } from './repeated-outcomes.ts';
import {
  chunkExpiresDayOf,
  countAttachment,
  dropAttachments,
  saveAttachments,
  saveChunks,
} from './save-attachments.ts';
import { type EncodedEvent, saveEvents, takeNewEvents } from './save-events.ts';
import { saveUserReports } from './save-user-reports.ts';
import type { EventSchema } from './schema.ts';

/** What had expired by the time that it came here, from a log that nobody read for long, counts but is not kept. */
type IsKept = (owner: Owner) => boolean;

/** Retention may take away, in the middle, what was prepared: of days that have long passed. */
const MAX_ATTEMPTS = 3;

export async function applyEffects(database: EventDatabase, batch: EffectBatch): Promise<readonly NewEvent[]> {
  const { writer, days, kind } = database;
  if (writer === undefined) throw new Error('the event store was opened to be read');
  // Before the transaction, which holds what others wait for.
  const encoded = new Map<NewEvent, EncodedEvent>();
  for (const effect of batch.effects) {
    if (effect.kind !== 'event') continue;
    const { event } = effect;
    encoded.set(event, { event, idBytes: bytesOfEventId(event.eventId), body: encodeBody(event.body) });
  }
  // One time for all of it: what expires at midnight must not be counted as both.
  const today = dayOf(Date.now());
  const isKept = (owner: Owner) => expiresDayOf(owner) > today;
  const needed = daysOf(batch.effects, isKept);
  for (let attempt = 1; ; attempt++) {
    await days.prepare(needed);
    try {
      return await writer.transaction().execute(async (tx) => {
        const position = await lockPosition(tx, kind, batch);
        const effects = batch.effects.filter(({ offset }) => offset >= position);
        const last = effects.at(-1);
        if (last === undefined) return [];
        const counted = effects.flatMap((effect) => (effect.kind === 'outcome' ? effect.outcome : []));
        const outcomes = await takeNewOutcomes(tx, batch, counted, today);
        const events = await save(tx, effects, outcomes, encoded, isKept);
        await movePosition(tx, batch, last.offset + 1n);
        return events;
      });
    } catch (error) {
      if (!days.isMissing(error)) throw error;
      if (attempt === MAX_ATTEMPTS) throw new StoreUnavailableError('a day is being dropped', { cause: error });
    }
  }
}

async function save(
  tx: Transaction<EventSchema>,
  effects: readonly Effect[],
  outcomes: readonly Outcome[],
  encoded: ReadonlyMap<NewEvent, EncodedEvent>,
  isKept: IsKept,
): Promise<readonly NewEvent[]> {
  const counter = new OutcomeCounter();
  for (const outcome of outcomes) counter.add(outcome);

  const chunks = effects.flatMap((effect) => (effect.kind === 'attachment_chunk' ? effect.chunk : []));
  await saveChunks(tx, chunks.filter(isKept));

  const events = effects.flatMap((effect) => (effect.kind === 'event' ? (encoded.get(effect.event) ?? []) : []));
  const { fresh, duplicates, repeats } = await takeNewEvents(tx, events);
  const stored = fresh.filter(({ event }) => isKept(event));
  await saveEvents(tx, stored);
  for (const { event } of fresh) counter.addFor(event, { outcome: 'accepted' }, event.category, 1);
  for (const { event } of duplicates) {
    counter.addFor(event, { outcome: 'invalid', reason: 'duplicate' }, event.category, 1);
  }
  for (const each of duplicates.flatMap(attachmentsOf)) countAttachment(each, counter, 'duplicate');

  const alone = effects.flatMap((effect) =>
    effect.kind === 'attachment' ? { owner: effect.attachment, attachment: effect.attachment } : [],
  );
  const attachments = [...fresh.flatMap(attachmentsOf), ...alone];
  const kept = attachments.filter(({ owner }) => isKept(owner));
  await saveAttachments(tx, kept, counter);
  for (const each of attachments) if (!isKept(each.owner)) countAttachment(each, counter, undefined);
  await dropAttachments(tx, [...duplicates, ...repeats].flatMap(attachmentsOf));

  const reports = effects.flatMap((effect) => (effect.kind === 'user_report' ? effect.report : []));
  await saveUserReports(tx, reports, counter);

  await counter.save(tx);
  return stored.map(({ event }) => event);
}

function attachmentsOf({ event }: EncodedEvent) {
  return event.attachments.map((attachment) => ({ owner: event, attachment }));
}

function daysOf(effects: readonly Effect[], isKept: IsKept): Set<number> {
  const days = new Set<number>();
  const add = (owner: Owner, hasChunks: boolean) => {
    if (!isKept(owner)) return;
    days.add(expiresDayOf(owner));
    if (hasChunks) days.add(chunkExpiresDayOf(owner));
  };
  for (const effect of effects) {
    if (effect.kind === 'event') add(effect.event, effect.event.attachments.length > 0);
    else if (effect.kind === 'attachment_chunk') add(effect.chunk, true);
    else if (effect.kind === 'attachment') add(effect.attachment, true);
  }
  return days;
}
