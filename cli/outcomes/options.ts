import { parseArgs } from 'node:util';
import { INGEST_TOPICS, OUTCOME_TOPICS, type Topic } from '#lib/ingest/topics.ts';
import { usageErrorOf } from '../usage.ts';

export const OUTCOMES_HELP = `npm run outcomes:audit [-- --json]
    proves that what was received is what was accepted, and every kind of refused: compares the log with the store.
    Ends with 0: balanced; 1: not balanced; 2: not yet, as records are still to be handled (or wrong usage);
    3: the log or the store is away.
npm run dead-letters:replay [-- --topic <topic>] [--limit <n>]
    appends dead letters to the topics that they came from again, and goes on where it ended the last time.
npm run dead-letters:replay -- --list [--topic <topic>]
    shows dead letters, and why they are.
The data is in TIDEWAY_DATA_DIR, or where DATABASE_URL says.`;

const TOPICS: readonly Topic[] = [...INGEST_TOPICS, ...OUTCOME_TOPICS];

export type OutcomesCommand =
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly why: string }
  | { readonly kind: 'audit'; readonly json: boolean }
  | { readonly kind: 'list'; readonly topics: readonly Topic[] }
  | { readonly kind: 'replay'; readonly topics: readonly Topic[]; readonly limit: number };

export function parseOutcomesCommand(args: readonly string[]): OutcomesCommand {
  const options = {
    help: { type: 'boolean', short: 'h' },
    json: { type: 'boolean' },
    list: { type: 'boolean' },
    topic: { type: 'string' },
    limit: { type: 'string' },
  } as const;
  const parsed = usageErrorOf(() => parseArgs({ args: [...args], options, allowPositionals: true }));
  if (parsed.kind === 'wrong') return parsed;
  const { values, positionals } = parsed.value;
  if (values.help) return { kind: 'help' };
  const [action, ...more] = positionals;
  if (more.length > 0) return { kind: 'wrong', why: `${more[0]} is too much.` };
  if (action === 'audit') {
    if (values.list || values.topic !== undefined || values.limit !== undefined) {
      return { kind: 'wrong', why: 'An audit takes --json alone.' };
    }
    return { kind: 'audit', json: values.json ?? false };
  }
  if (action !== 'replay') return { kind: 'wrong', why: 'There are audit and replay.' };
  const topics = values.topic === undefined ? TOPICS : TOPICS.filter((topic) => topic === values.topic);
  if (topics.length === 0) return { kind: 'wrong', why: `--topic is one of ${TOPICS.join(', ')}.` };
  if (values.list) return { kind: 'list', topics };
  const limit = values.limit === undefined ? Number.POSITIVE_INFINITY : Number(values.limit);
  if (values.limit !== undefined && !/^[1-9]\d{0,8}$/.test(values.limit)) {
    return { kind: 'wrong', why: '--limit is a number from 1 on.' };
  }
  return { kind: 'replay', topics, limit };
}
