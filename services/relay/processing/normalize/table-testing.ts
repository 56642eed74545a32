import { describe, expect, test } from 'vitest';
import { type Given, normalized } from '../testing.ts';

/** Rows of what is sent and what that is brought to. */

export interface Row {
  readonly rule: string;
  readonly sent: Record<string, unknown>;
  /** What it has then; undefined: nothing. */
  readonly is: Record<string, unknown>;
  /** What is noted of it. */
  readonly meta?: unknown;
  readonly given?: Given;
}

export function table(name: string, rows: readonly Row[]): void {
  describe(name, () => {
    test.each(rows)('$rule', ({ sent, is, meta, given }) => {
      const event = normalized(sent, given);
      for (const [key, value] of Object.entries(is)) {
        if (value === undefined) expect(event).not.toHaveProperty([key]);
        else expect(event[key]).toEqual(value);
      }
      expect(event['_meta']).toEqual(meta);
    });
  });
}

export const error = (...err: unknown[]) => ({ '': { err } });
export const invalid = (reason: string) => ['invalid_data', { reason }];
