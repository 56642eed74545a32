import { isObject } from '../json.ts';
import { levelOf } from './basics.ts';
import type { Draft } from './draft.ts';
import { trim } from './trim.ts';

/** `breadcrumbs.values`, each with a type and a level. Their times are for {@link normalizeTimestamps}, after this. */
export function normalizeBreadcrumbs({ event, notes }: Draft): void {
  const sent = event['breadcrumbs'];
  if (sent === undefined || sent === null) return;
  if (Array.isArray(sent)) event['breadcrumbs'] = { values: sent };
  const values = Array.isArray(sent) ? sent : isObject(sent) ? (sent['values'] ?? []) : undefined;
  if (!Array.isArray(values)) {
    event['breadcrumbs'] = null;
    notes.invalid(['breadcrumbs'], 'expected a list');
    return;
  }
  for (const [index, crumb] of values.entries()) {
    if (!isObject(crumb)) continue;
    if ((crumb['type'] ?? '') === '') crumb['type'] = 'default';
    const level = crumb['level'];
    const known = levelOf(level);
    if (known === undefined && level !== undefined && level !== null) {
      notes.invalid(['breadcrumbs', 'values', index, 'level'], 'invalid level', level);
    }
    crumb['level'] = known ?? 'info';
    const message = crumb['message'];
    if (typeof message === 'string') {
      crumb['message'] = trim(message, 'message', notes, ['breadcrumbs', 'values', index, 'message']);
    }
  }
}
