import { create, type DescMessage, type DescMethodUnary, type MessageShape } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { SessionSchema, AccountService as service } from '#gen/tideway/control/v1/account_service_pb.ts';
import { MemberSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import type {
  Accounts,
  IdentityResult,
  NewSession,
  Session,
  SignInResult,
  SignUpResult,
} from '#lib/accounts/accounts.ts';
import type { SessionCallers } from '#lib/accounts/session-callers.ts';
import type { OwnCookie } from '#lib/accounts/session-cookie.ts';
import { callerAddress } from '#lib/server/caller-address.ts';
import type { Gate } from '#lib/server/gate.ts';
import { originOf } from '#lib/server/origin.ts';
import { pageOrigin } from '#lib/server/page-origin.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { roleOf, timeOf } from './messages.ts';

/** What the calls of accounts work with. */
export interface AccountsFace {
  readonly gate: Gate;
  readonly accounts: Accounts;
  readonly callers: SessionCallers;
  readonly cookie: OwnCookie;
  /** Undefined: where the call came in. */
  readonly publicUrl: string | undefined;
  readonly trustedHops: number;
}

/** AccountService: the use cases are the library's; here is what comes with HTTP: cookies, origins, addresses. */
export function accountCalls(face: AccountsFace): ServiceImpl<typeof AccountService> {
  const { accounts, cookie } = face;

  function check<I extends DescMessage>(
    method: DescMethodUnary<I, DescMessage>,
    request: MessageShape<I>,
    context: HandlerContext,
  ): void {
    refuseOtherPages(face, context);
    face.gate.validate(method.input, request);
  }

  function begin(result: SignInResult, wantToken: boolean, context: HandlerContext) {
    const { session, token } = signedIn(result);
    if (!wantToken) context.responseHeader.append('set-cookie', setSession(cookie, { session, token }));
    return { session: sessionOf(session), ...(wantToken ? { token } : {}) };
  }

  return {
    async signUp(request, context) {
      check(service.method.signUp, request, context);
      requireDone(await accounts.signUp(request, addressOf(face, context)));
      return {};
    },
    async signIn(request, context) {
      check(service.method.signIn, request, context);
      const before = await sessionIn(face, context);
      const answer = begin(await accounts.signIn(request, addressOf(face, context)), request.wantToken, context);
      if (before !== undefined && !request.wantToken) await accounts.signOut(before);
      return answer;
    },
    async signOut(request, context) {
      check(service.method.signOut, request, context);
      const session = await sessionIn(face, context);
      if (session !== undefined) {
        await (request.everywhere ? accounts.signOutEverywhere(session.user.id) : accounts.signOut(session));
      }
      context.responseHeader.append('set-cookie', cookie.clear());
      return {};
    },
    async getSession(_request, context) {
      return { session: sessionOf(await requireSession(face, context)) };
    },
    async changePassword(request, context) {
      const session = await requireSession(face, context);
      check(service.method.changePassword, request, context);
      const result = await accounts.changePassword(session, request, addressOf(face, context));
      return begin(result, request.wantToken, context);
    },
    async acceptInvitation(request, context) {
      const session = await requireSession(face, context);
      check(service.method.acceptInvitation, request, context);
      const { organizationId, userId, email, role, createdMs } = await accounts.acceptInvitation(
        session,
        request.invitation,
      );
      const member = create(MemberSchema, { user: userId, email, role: roleOf(role), createTime: timeOf(createdMs) });
      return { organizationId, member };
    },
  };
}

/** For as long as the session can last; that it ends earlier is the service's word. */
export function setSession(cookie: OwnCookie, { session, token }: NewSession): string {
  return cookie.set(token, (session.expiresMs - session.createdMs) / 1000);
}

/** @throws Refusal */
export function signedIn(result: SignInResult | IdentityResult): NewSession {
  switch (result.kind) {
    case 'signed_in':
      return result;
    case 'refused':
      throw new Refusal('sign_in_refused');
    case 'unverified':
      throw new Refusal('email_unverified');
    default:
      return refuse(result);
  }
}

function requireDone(result: SignUpResult): void {
  if (result.kind !== 'taken') refuse(result);
}

function refuse(result: Exclude<SignUpResult, { kind: 'taken' }>): never {
  switch (result.kind) {
    case 'closed':
      throw new Refusal('sign_up_closed');
    case 'not_invited':
      throw new Refusal('invitation_missing');
    case 'throttled':
      throw new Refusal('too_many_attempts', { retryAfterMs: result.retryAfterMs });
  }
}

function sessionIn(face: AccountsFace, context: HandlerContext): Promise<Session | undefined> {
  return face.callers.session(context.requestHeader, ownOrigin(face, context));
}

async function requireSession(face: AccountsFace, context: HandlerContext): Promise<Session> {
  const session = await sessionIn(face, context);
  if (session === undefined) throw new Refusal('session_missing');
  return session;
}

/** Also where no cookie comes along: another page must not sign its visitor in as somebody else. */
function refuseOtherPages(face: AccountsFace, context: HandlerContext): void {
  const page = pageOrigin(context.requestHeader, ownOrigin(face, context));
  if (page === 'other') throw new Refusal('other_origin');
}

/** As browsers write it: the URL may have a path, and what they leave out. */
function ownOrigin({ publicUrl }: AccountsFace, context: HandlerContext): string {
  return publicUrl === undefined ? originOf(context) : new URL(publicUrl).origin;
}

function addressOf({ trustedHops }: AccountsFace, { requestHeader }: HandlerContext): string {
  return callerAddress(requestHeader.get('x-forwarded-for'), trustedHops);
}

function sessionOf({ user, createdMs, expiresMs }: Session) {
  const { id, email, name } = user;
  const times = { createTime: timeOf(createdMs), expireTime: timeOf(expiresMs) };
  return create(SessionSchema, { user: id, email, name, ...times });
}
