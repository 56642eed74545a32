import { type DescMessage, type JsonObject, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';
import { printable } from '../output.ts';

/** An answer as the API's JSON has it. */
export function jsonOf<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): JsonObject {
  const json = toJson(schema, message, { useProtoFieldName: true, alwaysEmitImplicit: true });
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('an answer is an object');
  return json;
}

/** What a table shows, of all the fields that resources have. */
const COLUMNS = [
  'id',
  'user',
  'slug',
  'public_key',
  'name',
  'email',
  'role',
  'platform',
  'state',
  'region',
  'scopes',
  'rate_limit',
  'dsn',
  'url',
  'time',
  'actor',
  'action',
  'target',
  'fields',
  'expire_time',
  'last_use_time',
];

/** Lists of other things than resources, by the name that answers have for them. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  events: ['receive_time', 'id', 'level', 'title', 'release', 'environment', 'user'],
  totals: ['outcome', 'reason', 'category', 'quantity', 'key_id'],
};

/** A page as a table, with what to ask for the next one; anything else field by field. */
export function render(answer: JsonObject): { readonly text: string; readonly notice: string } {
  const name = Object.keys(TABLES).find((table) => Array.isArray(answer[table]));
  const items = name === undefined ? Object.values(answer).find(Array.isArray) : answer[name];
  const isList = 'next_page_token' in answer || name !== undefined;
  if (!isList || !Array.isArray(items)) return { text: fieldsOf(answer, ''), notice: '' };
  const next = answer['next_page_token'] ?? '';
  return {
    text: tableOf(items, TABLES[name ?? ''] ?? COLUMNS),
    notice: next === '' ? '' : `There is more: --page-token ${next}`,
  };
}

function tableOf(items: readonly JsonValue[], known: readonly string[]): string {
  const rows = items.filter((item): item is JsonObject => typeof item === 'object' && item !== null);
  if (rows.length === 0) return 'None.\n';
  const columns = known.filter((column) => rows.some((row) => column in row));
  const cells = [columns, ...rows.map((row) => columns.map((column) => cellOf(row[column])))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => (row[index] ?? '').length)));
  const lines = cells.map((row) => row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  '));
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

function fieldsOf(resource: JsonObject, indent: string): string {
  const width = Math.max(0, ...Object.keys(resource).map((name) => name.length));
  return Object.entries(resource)
    .map(([name, value]) => {
      const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value) && name !== 'rate_limit';
      if (isGroup) return `${indent}${name}\n${fieldsOf(value, `${indent}  `)}`;
      return `${`${indent}${name.padEnd(width)}  ${cellOf(value)}`.trimEnd()}\n`;
    })
    .join('');
}

function cellOf(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) return value.map(cellOf).join(', ');
  if (typeof value === 'object') {
    const { count, window_sec: windowSec, ...others } = value;
    const isRateLimit = count !== undefined && windowSec !== undefined && Object.keys(others).length === 0;
    return isRateLimit ? `${String(count)}/${String(windowSec)}s` : printable(JSON.stringify(value));
  }
  return printable(String(value).replace(/^(STATE|ROLE)_([A-Z]+)$/, (_, _kind, word: string) => word.toLowerCase()));
}
