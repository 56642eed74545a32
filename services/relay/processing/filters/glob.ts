/** What a pattern matches; in time that grows with the text's length times the pattern's at worst, whatever both say. */
export interface Glob {
  /** @param text in lower case. */
  matches(text: string): boolean;
}

/** Alternatives may multiply: a pattern of more than these matches nothing. */
const MAX_ALTERNATIVES = 256;

/**
 * `*` is any text, `?` any character, `[a-z]` one of these and `[!a]` none of them, `{a,b}` one or the other; `\` before a
 * character takes it as it is. It is about the whole text and upper and lower case are the same. An empty pattern matches
 * nothing.
 */
export function compileGlob(pattern: string): Glob {
  const alternatives = pattern === '' ? [] : (expand(pattern.toLowerCase()) ?? []).map(compile);
  return { matches: (text) => alternatives.some((matches) => matches(text)) };
}

/** One of {@link patterns}. */
export function compileGlobs(patterns: readonly string[]): Glob {
  const globs = patterns.map(compileGlob);
  return { matches: (text) => globs.some((glob) => glob.matches(text)) };
}

/** Patterns without braces that together are the one with. Undefined: too many. */
function expand(pattern: string): string[] | undefined {
  const done: string[] = [];
  const open = [pattern];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const braces = findBraces(next);
    if (braces === undefined) done.push(next);
    else for (const part of braces.parts) open.push(braces.before + part + braces.after);
    if (done.length + open.length > MAX_ALTERNATIVES) return undefined;
  }
  return done;
}

/** The first braces that are closed. */
function findBraces(pattern: string): { before: string; parts: string[]; after: string } | undefined {
  for (let start = 0; start < pattern.length; start++) {
    const char = pattern[start];
    if (char === '\\') start++;
    else if (char === '[') start = endOfClass(pattern, start) ?? start;
    else if (char === '{') {
      const ends = endsOfParts(pattern, start);
      if (ends === undefined) return undefined;
      const parts = ends.map((end, index) => pattern.slice((index === 0 ? start : ends[index - 1]!) + 1, end));
      return { before: pattern.slice(0, start), parts, after: pattern.slice(ends.at(-1)! + 1) };
    }
  }
  return undefined;
}

/** Where the commas of the braces at `start` are, and last where they end. Undefined: they don't. */
function endsOfParts(pattern: string, start: number): number[] | undefined {
  const ends: number[] = [];
  let depth = 0;
  for (let index = start; index < pattern.length; index++) {
    const char = pattern[index];
    if (char === '\\') index++;
    else if (char === '[') index = endOfClass(pattern, index) ?? index;
    else if (char === '{') depth++;
    else if (char === ',' && depth === 1) ends.push(index);
    else if (char === '}' && --depth === 0) return [...ends, index];
  }
  return undefined;
}

/** Where the class that begins at `start` ends; undefined: it doesn't, and `[` is itself. */
function endOfClass(pattern: string, start: number): number | undefined {
  const first = start + 1 + (pattern[start + 1] === '!' || pattern[start + 1] === '^' ? 1 : 0);
  // A bracket that comes first is one of the class.
  const end = pattern.indexOf(']', first + 1);
  return end === -1 ? undefined : end;
}

/** A character, or a question about one. */
type Token = string | ((char: string) => boolean);
/** What is between stars. Text that is nothing but itself is searched for as such. */
type Segment = string | readonly Token[];

function compile(pattern: string): (text: string) => boolean {
  const segments = segmentsOf(pattern);
  const first = segments[0]!;
  if (segments.length === 1) return (text) => text.length === first.length && isAt(text, first, 0);
  const last = segments.at(-1)!;
  const middle = segments.slice(1, -1).filter((segment) => segment.length > 0);
  const least = segments.reduce((sum, segment) => sum + segment.length, 0);
  return (text) => {
    if (text.length < least || !isAt(text, first, 0)) return false;
    const end = text.length - last.length;
    let at = first.length;
    // The earliest place is the best: it leaves the most to what follows.
    for (const segment of middle) {
      const found = findSegment(text, segment, at, end);
      if (found === -1) return false;
      at = found + segment.length;
    }
    return at <= end && isAt(text, last, end);
  };
}

function segmentsOf(pattern: string): Segment[] {
  const segments: Token[][] = [[]];
  for (let index = 0; index < pattern.length; index++) {
    const char = pattern[index]!;
    const end = char === '[' ? endOfClass(pattern, index) : undefined;
    if (char === '*') segments.push([]);
    else if (char === '?') segments.at(-1)!.push(isAny);
    else if (end !== undefined) {
      segments.at(-1)!.push(classOf(pattern.slice(index + 1, end)));
      index = end;
    } else if (char === '\\' && index + 1 < pattern.length) segments.at(-1)!.push(pattern[++index]!);
    else segments.at(-1)!.push(char);
  }
  return segments.map((tokens) => (tokens.every((token) => typeof token === 'string') ? tokens.join('') : tokens));
}

function classOf(body: string): (char: string) => boolean {
  const isNot = body[0] === '!' || body[0] === '^';
  const members = isNot ? body.slice(1) : body;
  const ranges: (readonly [string, string])[] = [];
  for (let index = 0; index < members.length; index++) {
    const isRange = members[index + 1] === '-' && index + 2 < members.length;
    ranges.push([members[index]!, members[isRange ? index + 2 : index]!]);
    if (isRange) index += 2;
  }
  return (char) => ranges.some(([from, to]) => char >= from && char <= to) !== isNot;
}

function findSegment(text: string, segment: Segment, from: number, end: number): number {
  if (typeof segment === 'string') {
    const found = text.indexOf(segment, from);
    return found + segment.length <= end ? found : -1;
  }
  for (let at = from; at + segment.length <= end; at++) if (isAt(text, segment, at)) return at;
  return -1;
}

function isAt(text: string, segment: Segment, at: number): boolean {
  if (typeof segment === 'string') return text.startsWith(segment, at);
  for (let index = 0; index < segment.length; index++) {
    const token = segment[index]!;
    const char = text[at + index]!;
    if (typeof token === 'string' ? token !== char : !token(char)) return false;
  }
  return true;
}

function isAny(): boolean {
  return true;
}
