import { parseArgs } from 'node:util';
import { usageErrorOf } from '../usage.ts';
import { COMMANDS, type Command, type FlagName, findCommand } from './commands.ts';

/** What a command is told. */
export interface AdminOptions {
  readonly command: Command;
  /** What stands after the verb. */
  readonly name: string | undefined;
  readonly flags: Flags;
  readonly json: boolean;
  readonly url: string | undefined;
  readonly org: string | undefined;
  readonly project: string | undefined;
}

export type Flags = Readonly<Partial<Record<FlagName, string | readonly string[]>>>;

export type AdminOptionsResult =
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly why: string }
  | { readonly kind: 'options'; readonly options: AdminOptions };

const text = { type: 'string' } as const;
const texts = { type: 'string', multiple: true } as const;

const FLAGS = {
  name: text,
  slug: text,
  region: text,
  platform: text,
  'allowed-domain': texts,
  'retention-days': text,
  'rate-limit': text,
  email: text,
  role: text,
  scope: texts,
  'expires-in-days': text,
  etag: text,
  body: text,
  mask: text,
  query: text,
  level: text,
  release: text,
  environment: text,
  category: text,
  'page-size': text,
  'page-token': text,
} as const satisfies Record<FlagName, typeof text | typeof texts>;

/** Where the help says what a command does: beyond the longest of them. */
const ABOUT_COLUMN = 38;

export const ADMIN_HELP = `Usage: npm run -s admin -- <resource> <verb> [<name>] [flags]

Manages organizations, projects, keys and tokens: what the API does, for a person at a terminal.

  npm run -s admin -- projects list
  npm run -s admin -- projects create --name "My app"
  npm run -s admin -- keys update <key> --rate-limit 5/60s
  npm run -s admin -- events list --query "cannot read"
  npm run -s admin -- tokens create --name ci --scope projects:read

${COMMANDS.map(helpLine).join('\n')}

  <organization>, <project>: its id or slug; <key>: its public_key; <member>: the user; the others: their id

  --org <id or slug>       the organization            (TIDEWAY_ORG_ID, or the one that \`npm start\` made)
  --project <id or slug>   the project of keys, events (the one that \`npm start\` made)
  --allowed-domain, --scope                            as often as needed
  --rate-limit 5/60s       5 in 60 seconds; none: as many as come
  --role                   member, admin or owner
  --body <json>            fields that have no flag, as the API has them: '{"filters":{"localhost":true}}'
  --mask <fields>          which fields change, also those to clear: rate_limit,filters.localhost
  --etag <etag>            change only what still has it
  --json                   the API's JSON
  --url <url>              the edge                    (TIDEWAY_URL, or what \`npm start\` wrote)
  --help

The token is TIDEWAY_API_TOKEN, or else the one that \`npm start\` wrote.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the edge is away`;

export function parseAdminOptions(args: readonly string[]): AdminOptionsResult {
  const parsed = usageErrorOf(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...FLAGS,
        json: { type: 'boolean', default: false },
        url: text,
        org: text,
        project: text,
        help: { type: 'boolean', short: 'h', default: false },
      },
    }),
  );
  if (parsed.kind === 'wrong') return parsed;
  const { values, positionals } = parsed.value;
  if (values.help || positionals.length === 0) return { kind: 'help' };
  const { json, url, org, project, help: _, ...flags } = values;
  const command = commandOf(positionals);
  if (typeof command === 'string') return { kind: 'wrong', why: command };
  const why = misused(command, positionals.slice(2), flags);
  if (why !== undefined) return { kind: 'wrong', why };
  return { kind: 'options', options: { command, name: positionals[2], flags, json, url, org, project } };
}

function commandOf([resource = '', verb = '']: readonly string[]): Command | string {
  const command = findCommand(resource, verb);
  if (command !== undefined) return command;
  const verbs = COMMANDS.filter((candidate) => candidate.resource === resource).map((candidate) => candidate.verb);
  if (verbs.length > 0) return `${resource} can be told to ${verbs.join(', ')}.`;
  return `There are ${[...new Set(COMMANDS.map((candidate) => candidate.resource))].join(', ')}.`;
}

function misused(command: Command, names: readonly string[], flags: Flags): string | undefined {
  const { resource, verb } = command;
  if (command.names === undefined && names.length > 0) return `${resource} ${verb} takes no name.`;
  if (command.names !== undefined && names.length !== 1) return `Say which: ${resource} ${verb} <${command.names}>.`;
  const stranger = Object.keys(flags).find((flag) => !(command.flags ?? []).some((known) => known === flag));
  if (stranger !== undefined) return `--${stranger} means nothing to ${resource} ${verb}.`;
  return undefined;
}

function helpLine({ resource, verb, names, about, flags = [] }: Command): string {
  const usage = `${resource} ${verb}${names === undefined ? '' : ` <${names}>`}`;
  const own = flags.map((flag) => `--${flag}`).join(' ');
  return `  ${usage.padEnd(ABOUT_COLUMN)}${about}${own === '' ? '' : `\n${' '.repeat(ABOUT_COLUMN + 2)}${own}`}`;
}

/** `5/60s` or `none`. Undefined: neither. */
export function parseRateLimit(value: string): { count: string; window_sec: number } | null | undefined {
  if (value === 'none') return null;
  const [, count = '', seconds = ''] = /^(\d{1,15})\/(\d{1,7})s$/.exec(value) ?? [];
  return count === '' ? undefined : { count, window_sec: Number(seconds) };
}
