import { inspect } from 'node:util';
import type { Logger } from '#lib/telemetry/logger.ts';

/** What those who run the consumers should know. Plain data: it may cross threads. Never anything of an event. */
export interface Report {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
}

export type Reports = (report: Report) => void;

export function reportTo(logger: Logger): Reports {
  return ({ level, message, fields }) => logger[level](fields, message);
}

const MAX_ERROR_LENGTH = 2_000;

/** An error's own words. What databases add about values stays out: only messages and stacks are kept. */
export function errorFields(error: unknown): { error: string } {
  const text = error instanceof Error ? (error.stack ?? error.message) : inspect(error, { depth: 0 });
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return { error: `${text}${cause}`.slice(0, MAX_ERROR_LENGTH) };
}
