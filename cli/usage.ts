/** What the commands agree on: how they are used wrongly, and how they end. */
export const EXIT = {
  ok: 0,
  refused: 1,
  usage: 2,
  away: 3,
  timedOut: 4,
  endedWithoutEnd: 5,
  interrupted: 130,
} as const;

export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/** Seconds from 0 to a day. */
export function parseSeconds(text: string): number | undefined {
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(text)) return undefined;
  const seconds = Number(text);
  return seconds <= 86_400 ? seconds : undefined;
}

/** Node reports an unknown option or a missing value by throwing; anything else it throws is a bug, and stays one. */
export function usageErrorOf<T>(
  parse: () => T,
): { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'wrong'; readonly why: string } {
  try {
    return { kind: 'ok', value: parse() };
  } catch (error) {
    if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')) {
      // Node's text names the option, never its value; what follows the first sentence is advice about Node's own flags.
      return { kind: 'wrong', why: `${error.message.split(/[.\n]/, 1)[0]}.` };
    }
    throw error;
  }
}

/** `--name value` pairs for a command to paste, of those that differ from what the other command would find itself. */
export function pasteable(command: 'publish' | 'listen', flags: Readonly<Record<string, string | undefined>>): string {
  const words = Object.entries(flags).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, quoted(value)],
  );
  return `npm run -s ${command} -- ${words.join(' ')}`;
}

function quoted(word: string): string {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
