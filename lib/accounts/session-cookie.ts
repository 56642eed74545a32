/** A cookie of ours: pages can't read it, other sites' pages can't have it sent along with a write. */
export interface OwnCookie {
  read(headers: Headers): string | undefined;
  /** For a Set-Cookie header. */
  set(value: string, maxAgeSec: number): string;
  clear(): string;
}

export interface CookieOptions {
  /** Only by https. Then the name says so, and no other host of the domain can set it. */
  readonly secure: boolean;
}

export function sessionCookie(options: CookieOptions): OwnCookie {
  return ownCookie('tideway_session', options);
}

export function ownCookie(baseName: string, { secure }: CookieOptions): OwnCookie {
  const name = secure ? `__Host-${baseName}` : baseName;
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  return {
    read: (headers) => cookieValue(headers.get('cookie'), name),
    set: (value, maxAgeSec) => `${name}=${value}; ${attributes}; Max-Age=${Math.floor(maxAgeSec)}`,
    clear: () => `${name}=; ${attributes}; Max-Age=0`,
  };
}

/** The first of this name: browsers send the one with the longest path first. */
function cookieValue(header: string | null, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=');
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}
