import { parseArgs } from 'node:util';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { parseUint64, type TargetFlags } from './target.ts';
import { isUuid, parseSeconds, usageErrorOf } from './usage.ts';

export const PUBLISH_HELP = `Usage: npm run -s publish -- [options] [text…]

Publishes to a channel through the edge. Without --channel it makes one, and says how to listen to it.

  npm run -s publish -- "Hello"                          one message, {"text": "Hello"}
  echo Hello | npm run -s publish                        the same, from standard input
  tail -f app.log | npm run -s publish -- --lines        a stream: START, a DELTA for each line as it arrives, END
  npm run -s publish -- --channel <uuid> --phase end     ends a stream

What to publish
  --channel <uuid>       the channel
  --lines                each line of standard input is a message; a line over 15 KiB takes several, with --json none
  --no-start, --no-end   with --lines: without the START before, without the END after
  --json                 the text, or each line, is a JSON object and the whole payload
  --phase <phase>        start, delta, end or error (delta)
  --sequence <n>         the message's sequence, or the first line's (0)
  --coalesce <ms>        with START: its text may be delivered together, at most once in so many ms (1 to 10000)
  --message-id <uuid>    the message's id: sent again with the same phase and sequence, it is stored once

Where to
  --url <url>            the edge                        (TIDEWAY_URL, or what \`npm start\` wrote)
  --org <id>             the organization                (TIDEWAY_ORG_ID, or what \`npm start\` wrote)
  --token <jwt>          the publish token               (TIDEWAY_PUBLISH_TOKEN, which wins: others on this machine
                                                          can see flags; or what \`npm start\` wrote)
  --retry-sec <n>        how long to keep trying when the edge goes away (60)
  --quiet                no ids
  --help

Ids of stored messages go to standard output, everything else to standard error. If standard output closes, publishing
goes on. Ctrl-C ends the input of --lines: what was read is published, then END; a second one stops at once.
A listener who cancels the stream ends the input of --lines, too.

Tideway ends a stream to which nothing is published for two minutes (its CLEANUP_STREAM_IDLE_SEC), so that of a quiet
\`tail -f\` too.

Exit codes: 0 all is stored, 1 refused, 2 wrong usage or input, 3 the edge is away, 130 interrupted`;

export interface PublishOptions {
  readonly target: TargetFlags;
  readonly channelId: string | undefined;
  readonly json: boolean;
  readonly sequence: bigint;
  /** What START says; undefined: nothing, or there is none. */
  readonly coalesceWindowMs: number | undefined;
  readonly retryMs: number;
  readonly quiet: boolean;
  readonly what:
    | { readonly kind: 'lines'; readonly start: boolean; readonly end: boolean }
    | {
        readonly kind: 'one';
        readonly phase: Phase;
        readonly messageId: string | undefined;
        readonly text: string | undefined;
        /** True if the text is to be read from standard input: a DELTA without one. Other phases need none. */
        readonly needsInput: boolean;
      };
}

export type PublishOptionsResult =
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly why: string }
  | { readonly kind: 'options'; readonly options: PublishOptions };

export function parsePublishOptions(args: readonly string[]): PublishOptionsResult {
  const parsed = usageErrorOf(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        channel: { type: 'string' },
        lines: { type: 'boolean', default: false },
        'no-start': { type: 'boolean', default: false },
        'no-end': { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        phase: { type: 'string' },
        sequence: { type: 'string', default: '0' },
        coalesce: { type: 'string' },
        'message-id': { type: 'string' },
        url: { type: 'string' },
        org: { type: 'string' },
        token: { type: 'string' },
        'retry-sec': { type: 'string', default: '60' },
        quiet: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }),
  );
  if (parsed.kind === 'wrong') return parsed;
  const { values, positionals } = parsed.value;
  if (values.help) return { kind: 'help' };
  const wrong = (why: string) => ({ kind: 'wrong', why }) as const;

  if (values.channel !== undefined && !isUuid(values.channel)) return wrong('--channel must be a UUID.');
  if (values['message-id'] !== undefined && !isUuid(values['message-id'])) return wrong('--message-id must be a UUID.');
  const sequence = parseUint64(values.sequence);
  if (sequence === undefined) return wrong('--sequence must be a whole number from 0 to 2^64 − 1.');
  const retrySec = parseSeconds(values['retry-sec']);
  if (retrySec === undefined) return wrong('--retry-sec must be a number of seconds, at most a day.');
  const phase = PHASES.get(values.phase ?? 'delta');
  if (phase === undefined) return wrong('--phase must be start, delta, end or error.');
  if (values.lines) {
    if (positionals.length > 0) return wrong('--lines reads standard input; it takes no text beside it.');
    if (values.phase !== undefined || values['message-id'] !== undefined) {
      return wrong('--phase and --message-id are for one message, not for --lines.');
    }
  } else if (values['no-start'] || values['no-end']) {
    return wrong('--no-start and --no-end go with --lines.');
  }
  const hasStart = values.lines ? !values['no-start'] : phase === Phase.START;
  if (values.coalesce !== undefined && !hasStart) return wrong('--coalesce is said by a START.');
  const coalesceWindowMs = values.coalesce === undefined ? undefined : parseWindowMs(values.coalesce);
  if (values.coalesce !== undefined && coalesceWindowMs === undefined) {
    return wrong('--coalesce must be a whole number of ms, from 1 to 10000.');
  }

  return {
    kind: 'options',
    options: {
      target: { url: values.url, org: values.org, token: values.token },
      channelId: values.channel,
      json: values.json,
      sequence,
      coalesceWindowMs,
      retryMs: retrySec * 1000,
      quiet: values.quiet,
      what: values.lines
        ? { kind: 'lines', start: !values['no-start'], end: !values['no-end'] }
        : {
            kind: 'one',
            phase,
            messageId: values['message-id'],
            text: positionals.length > 0 ? positionals.join(' ') : undefined,
            needsInput: positionals.length === 0 && phase === Phase.DELTA,
          },
    },
  };
}

function parseWindowMs(text: string): number | undefined {
  const windowMs = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return windowMs >= 1 && windowMs <= 10_000 ? windowMs : undefined;
}

const PHASES = new Map<string, Phase>([
  ['start', Phase.START],
  ['delta', Phase.DELTA],
  ['end', Phase.END],
  ['error', Phase.ERROR],
]);
