import { type Audited, type AuditResult, isBalanced } from './audit.ts';
import type { Kind } from './counts.ts';

const KINDS: readonly Kind[] = [
  'accepted',
  'duplicate',
  'put_aside',
  'filtered',
  'rate_limited',
  'invalid',
  'abuse',
  'client_discard',
  'cardinality_limited',
];

/** For people. */
export function renderAudit(result: AuditResult): string {
  if (result.kind === 'not_yet') {
    const { behind, lost } = result;
    const why =
      behind > 0n ? `${behind} records behind.` : 'the log is being written to. Stop what sends, or try again.';
    return `Not yet: ${why}${lost > 0n ? `\n${lost} records expired before they were handled: they are lost.` : ''}`;
  }
  const { imbalances, problems, events, fromMs } = result;
  const { logged, stored, expired, putAside, missing } = events;
  const lines = [
    ...(fromMs === 0
      ? []
      : [`Counts are compared from ${new Date(fromMs).toISOString()} on: the log has no more.`, '']),
    ...received(result),
    '',
    `Events in the log: ${logged} = ${stored} stored + ${expired} expired + ${putAside} put aside + ${missing} missing.`,
  ];
  if (imbalances.length > 0) {
    const rows = imbalances.map(({ organizationId, projectId, category, what, expected, counted }) =>
      [organizationId, projectId, category, what, expected, counted].map(String),
    );
    lines.push('', ...table(['ORGANIZATION', 'PROJECT', 'CATEGORY', 'WHAT', 'EXPECTED', 'COUNTED'], rows));
  }
  lines.push(...problems, '', isBalanced(result) ? 'Balanced.' : 'NOT BALANCED.');
  return lines.join('\n');
}

/** For programs. Numbers are strings: they may be larger than JSON's readers take. */
export function auditJson(result: AuditResult): string {
  const json =
    result.kind === 'not_yet'
      ? result
      : {
          ...result,
          balanced: isBalanced(result),
          rows: result.rows.map((row) => ({ ...row, counted: Object.fromEntries(row.counted) })),
        };
  return JSON.stringify(json, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value), 2);
}

function received({ rows }: Audited): string[] {
  const used = KINDS.filter((kind) => rows.some(({ counted }) => counted.has(kind)));
  const head = ['ORGANIZATION', 'PROJECT', 'CATEGORY', 'RECEIVED', ...used.map((kind) => kind.toUpperCase())];
  const cells = rows.map(({ organizationId, projectId, category, received, counted }) => [
    ...[organizationId, projectId, category, received].map(String),
    ...used.map((kind) => String(counted.get(kind) ?? 0n)),
  ]);
  return rows.length === 0 ? ['Nothing was received.'] : table(head, cells);
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? '').length)));
  const isNumber = (text: string) => /^\d+$/.test(text);
  const line = (row: readonly string[]) =>
    row
      .map((cell, at) => (isNumber(cell) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)];
}
