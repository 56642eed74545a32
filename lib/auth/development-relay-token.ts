import { createHmac } from 'node:crypto';
import { DEVELOPMENT_SECRET_PREFIX, type DevelopmentKeys } from './development-keys.ts';

/** What relays and config services of one development machine know each other by, where no token is set. */
export function developmentRelayToken({ apiToken }: DevelopmentKeys): string {
  return DEVELOPMENT_SECRET_PREFIX + createHmac('sha256', apiToken).update('relay').digest('base64url');
}
