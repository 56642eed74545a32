import { bearerOf, type CallerVerifier, type Principal } from '#lib/auth/principal.ts';
import { ROLE_SCOPES } from '#lib/auth/roles.ts';
import { pageOrigin } from '#lib/server/page-origin.ts';
import type { Members } from '#lib/store/store.ts';
import type { Accounts, Session } from './accounts.ts';
import type { OwnCookie } from './session-cookie.ts';

export interface SessionCallersOptions {
  readonly accounts: Pick<Accounts, 'session'>;
  readonly members: Pick<Members, 'get'>;
  readonly cookie: OwnCookie;
  /** The edge's, where it is known. */
  readonly publicOrigin: string | undefined;
}

/** People who have signed in. */
export interface SessionCallers extends CallerVerifier {
  /**
   * The session that comes with a call: by its Authorization header, or by its cookie, which counts only for a page of our
   * own: or any page could have a browser write in its user's name.
   */
  session(headers: Headers, ownOrigin?: string): Promise<Session | undefined>;
}

export function createSessionCallers({
  accounts,
  members,
  cookie,
  publicOrigin,
}: SessionCallersOptions): SessionCallers {
  async function session(headers: Headers, ownOrigin = publicOrigin): Promise<Session | undefined> {
    const token = headers.has('authorization') ? bearerOf(headers) : cookieOf(headers, ownOrigin);
    return token === undefined ? undefined : accounts.session(token);
  }

  function cookieOf(headers: Headers, ownOrigin: string | undefined): string | undefined {
    const value = cookie.read(headers);
    return value !== undefined && pageOrigin(headers, ownOrigin) === 'own' ? value : undefined;
  }

  return {
    session,
    async authenticate(headers) {
      const found = await session(headers);
      return found && userPrincipal(found.user.id, members);
    },
  };
}

function userPrincipal(userId: string, members: Pick<Members, 'get'>): Principal {
  return {
    actor: `user:${userId}`,
    reach: { kind: 'memberships', userId },
    async scopesIn(organizationId) {
      const member = await members.get(organizationId, userId);
      return member && ROLE_SCOPES[member.role];
    },
  };
}
