/** DATABASE_URL can not be used. The message never shows it: it has a password. */
export class InvalidDatabaseUrlError extends Error {
  override readonly name = 'InvalidDatabaseUrlError';
}

/** @throws InvalidDatabaseUrlError */
export function requirePostgresUrl(url: string): string {
  let protocol: string;
  try {
    ({ protocol } = new URL(url));
  } catch {
    throw new InvalidDatabaseUrlError('the database URL is not a URL');
  }
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') {
    throw new InvalidDatabaseUrlError('the database URL must begin with postgres:// or postgresql://');
  }
  return url;
}
