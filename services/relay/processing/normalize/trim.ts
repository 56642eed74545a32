import type { Notes, Path } from './notes.ts';

/** How long texts may be, in characters. */
export const MAX_CHARS = {
  message: 8192,
  transaction: 200,
  culprit: 200,
  release: 200,
  environment: 64,
  logger: 64,
  url: 256,
  tag: 200,
} as const;

/** So much more is let pass: a message cut at its very end would lose more than it saves. */
const TOLERANCE: Readonly<Record<keyof typeof MAX_CHARS, number>> = {
  message: 200,
  transaction: 0,
  culprit: 0,
  release: 0,
  environment: 0,
  logger: 0,
  url: 0,
  tag: 0,
};

const ELLIPSIS = '...';

/** What is too long ends in three dots, and a note says how long it was. */
export function trim(text: string, kind: keyof typeof MAX_CHARS, notes: Notes, path: Path): string {
  const max = MAX_CHARS[kind];
  const most = max + TOLERANCE[kind];
  // Units are never fewer than characters.
  if (text.length <= most) return text;
  const length = characters(text);
  if (length <= most) return text;
  const start = max - ELLIPSIS.length;
  notes.cut(path, start, max, length);
  return text.slice(0, unitsOf(text, start)) + ELLIPSIS;
}

function characters(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length - 1; index++) {
    if (isPair(text, index)) {
      count--;
      index++;
    }
  }
  return count;
}

/** How many units the first `count` characters take. */
function unitsOf(text: string, count: number): number {
  let units = 0;
  for (let seen = 0; seen < count; seen++) units += isPair(text, units) ? 2 : 1;
  return units;
}

function isPair(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800 && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00;
}
