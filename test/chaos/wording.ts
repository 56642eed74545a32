import { isDeepStrictEqual } from 'node:util';
import type { JsonObject } from '@bufbuild/protobuf';
import type { Random } from './random.ts';

/** What a stream says: each message has its sequence in its words, so that joined text tells what it was joined of. */
export interface Wording {
  /** That of a stream whose text may be delivered together. */
  readonly coalesceWindowMs: number | undefined;
  payloadOf(sequence: number): JsonObject;
}

/** Of three streams one is said token by token and coalesces. */
export function wordingFor(random: Random): Wording {
  const coalesces = random.whole(0, 2) === 0;
  return {
    coalesceWindowMs: coalesces ? random.whole(5, 400) : undefined,
    payloadOf: coalesces ? tokenOf : sentenceOf,
  };
}

const sentenceOf = (sequence: number): JsonObject => ({ text: `message ${sequence}` });

const ENDINGS = ['', ' ', '…', 'é🙂', '\n"'] as const;

/** Mostly text under one name; sometimes under another, and sometimes what is not text alone and is never joined. */
function tokenOf(sequence: number): JsonObject {
  const text = `[${sequence}]${ENDINGS[sequence % ENDINGS.length]}`;
  if (sequence % 17 === 5) return { text, final: true };
  return sequence % 23 < 3 ? { thought: text } : { text };
}

/**
 * The messages that a received one is made of, in their order; undefined if that is not what they said, one after the
 * other.
 */
export function partsOf(payload: JsonObject | undefined, sequence: number, wording: Wording): number[] | undefined {
  if (isDeepStrictEqual(payload, wording.payloadOf(sequence))) return [sequence];
  const [field, ...more] = Object.entries(payload ?? {});
  if (wording.coalesceWindowMs === undefined || field === undefined || more.length > 0) return undefined;
  const [name, text] = field;
  const parts = [...String(text).matchAll(/\[(\d+)\]/g)].map(([, part]) => Number(part));
  const said = parts.map((part) => wording.payloadOf(part));
  const isSaid =
    parts.at(-1) === sequence &&
    said.every((one) => Object.keys(one).length === 1 && name in one) &&
    said.map((one) => one[name]).join('') === text;
  return isSaid ? parts : undefined;
}
