import { parseArgs } from 'node:util';
import type { TargetFlags } from './target.ts';
import { isUuid, parseSeconds, usageErrorOf } from './usage.ts';

export const LISTEN_HELP = `Usage: npm run -s listen -- [options]

Prints a channel's messages as they arrive, until its stream ends; resumes by itself after every cut. Without --channel
it makes one, and says how to publish to it.

  npm run -s listen -- --channel <uuid>                  the texts, one after the other
  npm run -s listen -- --channel <uuid> --json           the events, one a line

  --channel <uuid>       the channel
  --from <id>            begin after this message id     (the oldest message there is)
  --json                 whole events as JSON instead of texts: {"id", "message"} or {"id", "control"}
  --timeout-sec <n>      stop after so many seconds

  --url <url>            the edge                        (TIDEWAY_URL, or what \`npm start\` wrote)
  --org <id>             the organization                (TIDEWAY_ORG_ID, or what \`npm start\` wrote)
  --token <jwt>          the stream token                (TIDEWAY_STREAM_TOKEN, which wins: others on this machine can
                                                          see flags; or one that the edge is asked for)
  --retry-sec <n>        how long to keep trying when the edge goes away (60)
  --help

A payload {"text": "…"} is printed as its text, exactly; any other as a line of JSON. News about the stream itself goes
to standard error: messages that are no longer retained, a producer that was lost, a log that was rolled back.

Exit codes: 0 the stream ended, or standard output closed; 1 refused, 2 wrong usage, 3 the edge is away, 4 --timeout-sec
passed, 5 the stream is over without an END, 130 interrupted`;

export interface ListenOptions {
  readonly target: TargetFlags;
  readonly channelId: string | undefined;
  readonly from: string;
  readonly json: boolean;
  /** Undefined: as long as it takes. */
  readonly timeoutMs: number | undefined;
  readonly retryMs: number;
}

export type ListenOptionsResult =
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly why: string }
  | { readonly kind: 'options'; readonly options: ListenOptions };

export function parseListenOptions(args: readonly string[]): ListenOptionsResult {
  const parsed = usageErrorOf(() =>
    parseArgs({
      args: [...args],
      allowPositionals: false,
      options: {
        channel: { type: 'string' },
        from: { type: 'string', default: '' },
        json: { type: 'boolean', default: false },
        'timeout-sec': { type: 'string' },
        url: { type: 'string' },
        org: { type: 'string' },
        token: { type: 'string' },
        'retry-sec': { type: 'string', default: '60' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }),
  );
  if (parsed.kind === 'wrong') return parsed;
  const { values } = parsed.value;
  if (values.help) return { kind: 'help' };
  const wrong = (why: string) => ({ kind: 'wrong', why }) as const;

  if (values.channel !== undefined && !isUuid(values.channel)) return wrong('--channel must be a UUID.');
  if (!/^(\d{1,20}(-\d{1,20})?)?$/.test(values.from)) return wrong('--from must be a message id, <ms>-<n>.');
  const retrySec = parseSeconds(values['retry-sec']);
  if (retrySec === undefined) return wrong('--retry-sec must be a number of seconds, at most a day.');
  const timeoutText = values['timeout-sec'];
  const timeoutSec = timeoutText === undefined ? undefined : parseSeconds(timeoutText);
  if (timeoutText !== undefined && !timeoutSec) {
    return wrong('--timeout-sec must be a number of seconds above 0, at most a day.');
  }

  return {
    kind: 'options',
    options: {
      target: { url: values.url, org: values.org, token: values.token },
      channelId: values.channel,
      from: values.from,
      json: values.json,
      timeoutMs: timeoutSec === undefined ? undefined : timeoutSec * 1000,
      retryMs: retrySec * 1000,
    },
  };
}
