import { type Logger, pino } from 'pino';

export type { Logger };

/**
 * JSON lines on stdout. What is logged is chosen field by field: tokens, secrets, payloads, query strings and whole
 * requests are never passed in; the redaction here is the second lock.
 */
export function createLogger(service: string, level: string): Logger {
  return pino({
    level,
    base: { service },
    redact: ['token', '*.token', 'authorization', '*.authorization', 'secret', '*.secret', 'payload', '*.payload'],
  });
}
