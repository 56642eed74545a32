import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { Delivery } from './delivery.ts';

/** Deliveries that are written together, up to about this: what a slow listener is cut at is far above it. */
const MAX_TOGETHER_BYTES = 64 * 1024;
/** Text that is joined to one message, in UTF-8. */
export const MAX_JOINED_TEXT_BYTES = 64 * 1024;

/**
 * The same deliveries in as few messages and writes as is good for their readers: text deltas that follow each other with the
 * same field are one message where their channel coalesces, and what is small is one write.
 */
export function together(deliveries: readonly Delivery[]): Delivery[] {
  const coalesces = deliveries.some(({ entry }) => entry.coalesceMs !== undefined);
  return inWrites(coalesces ? joinTexts(deliveries) : deliveries);
}

function inWrites(deliveries: readonly Delivery[]): Delivery[] {
  const made: Delivery[] = [];
  let parts: Delivery[] = [];
  let sizeBytes = 0;
  const close = () => {
    const last = parts.at(-1);
    if (last !== undefined)
      made.push(parts.length === 1 ? last : new Delivery({ place: last.entry, sizeBytes, parts }));
    parts = [];
    sizeBytes = 0;
  };
  for (const delivery of deliveries) {
    if (sizeBytes + delivery.sizeBytes > MAX_TOGETHER_BYTES) close();
    parts.push(delivery);
    sizeBytes += delivery.sizeBytes;
  }
  close();
  return made;
}

function joinTexts(deliveries: readonly Delivery[]): Delivery[] {
  const made: Delivery[] = [];
  let run = new TextRun();
  for (const delivery of deliveries) {
    if (run.takes(delivery)) continue;
    made.push(...run.joined());
    run = new TextRun();
    if (!run.takes(delivery)) made.push(delivery);
  }
  made.push(...run.joined());
  return made;
}

/** Text deltas that follow each other, of one field. */
class TextRun {
  readonly #deliveries: Delivery[] = [];
  readonly #texts: string[] = [];
  #field: string | undefined;
  #textBytes = 0;

  /** Takes it, if it belongs to them and there is room. */
  takes(delivery: Delivery): boolean {
    const delta = textDelta(delivery);
    if (delta === undefined) return false;
    const { field, text } = delta;
    const deltaBytes = Buffer.byteLength(text);
    if (this.#field !== undefined) {
      if (field !== this.#field || this.#textBytes + deltaBytes > MAX_JOINED_TEXT_BYTES) return false;
    }
    this.#field = field;
    this.#deliveries.push(delivery);
    this.#texts.push(text);
    this.#textBytes += deltaBytes;
    return true;
  }

  /** As one, if there are several. */
  joined(): readonly Delivery[] {
    const [first, last] = [this.#deliveries[0], this.#deliveries.at(-1)];
    if (first === last || first === undefined || last?.message === undefined) return this.#deliveries;
    const { id, kind, coalesceMs } = last.entry;
    const message = { ...last.message, payload: { [this.#field ?? '']: this.#texts.join('') } };
    const place = { id, prev: first.entry.prev, kind, coalesceMs };
    return [new Delivery({ place, sizeBytes: this.#textBytes, message })];
  }
}

/** A DELTA whose payload has one field, and that a string, where its channel coalesces. */
function textDelta({ isText, message }: Delivery): { readonly field: string; readonly text: string } | undefined {
  if (!isText || message?.phase !== Phase.DELTA || message.payload === undefined) return undefined;
  const [field, ...others] = Object.keys(message.payload);
  if (field === undefined || others.length > 0) return undefined;
  const text = message.payload[field];
  return typeof text === 'string' ? { field, text } : undefined;
}
