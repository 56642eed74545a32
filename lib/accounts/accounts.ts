import type { Member, User } from '#lib/store/records.ts';

/**
 * Accounts say how users prove who they are. Users are the store's, and so is the database.
 *
 * 1. *No hint.* {@link Accounts.signUp} and {@link Accounts.signIn} answer the same, after the same work, whether there is
 *    an account for the address or not; so do the limits on attempts, which count addresses that nobody has.
 * 2. *Passwords* are kept as argon2id, and hashed a few at a time: more than {@link MAX_WAITING_HASHES} that wait are
 *    refused as `throttled`, before anything is allocated for them.
 * 3. *Attempts* are limited for an account, for a client's address, and for both together (throttle.ts).
 * 4. *Sessions* have a token of 256 random bits, of which a hash is kept. A new one is made at each sign-in and with each
 *    new password. A session ends when it is {@link SessionLimits.idleMs} unused, {@link SessionLimits.maxAgeMs} old,
 *    signed out, when its user is disabled, or has {@link MAX_SESSIONS} newer ones: from the next call on, everywhere.
 *    Times are the system's clock: what one that was ahead has noted lengthens a session by no more than these limits.
 * 5. *Identities* of OpenID providers find their user by issuer and subject. The address counts once, for an identity that
 *    is new, and only if the provider has verified it. Then whoever holds the address has the account: if the address
 *    was never verified before, the password that somebody else may have set for it goes, with all sessions.
 * 6. Each change of how a user signs in is in the audit log, in the same transaction.
 *
 * Inputs are checked by the contract's rules before they come here. All methods throw StoreUnavailableError where the
 * database is away.
 */
export interface Accounts {
  signUp(input: SignUp, clientAddress: string): Promise<SignUpResult>;
  signIn(input: Credentials, clientAddress: string): Promise<SignInResult>;
  signInByIdentity(identity: Identity): Promise<IdentityResult>;
  /** The session of a token in force. */
  session(token: string): Promise<Session | undefined>;
  signOut(session: Session): Promise<void>;
  signOutEverywhere(userId: string): Promise<void>;
  changePassword(session: Session, change: PasswordChange, clientAddress: string): Promise<SignInResult>;
  /** Refuses `not_found`, `member_exists` (StoreRefusal). */
  acceptInvitation(session: Session, secret: string): Promise<Member>;
  /** What comes from now on is refused. The database stays open. */
  close(): void;
}

/** Who may make an account: anybody, who is invited, nobody. */
export type SignUpMode = 'open' | 'invited' | 'closed';

export interface SignUp {
  readonly email: string;
  readonly password: string;
  readonly name: string;
  /** An invitation's secret. */
  readonly invitation: string;
}

export interface Credentials {
  readonly email: string;
  readonly password: string;
}

export interface PasswordChange {
  /** Empty: there is none. */
  readonly currentPassword: string;
  readonly newPassword: string;
}

/** What an OpenID provider says of somebody who has just signed in there. */
export interface Identity {
  readonly issuer: string;
  readonly subject: string;
  /** Undefined: it says none, or has not verified it. */
  readonly verifiedEmail: string | undefined;
  readonly name: string;
}

export interface Session {
  readonly id: string;
  readonly user: User;
  readonly createdMs: number;
  /** At the latest. */
  readonly expiresMs: number;
}

export interface NewSession {
  readonly session: Session;
  readonly token: string;
}

export type SignUpResult =
  /** There is an account for the address now, or was before. */
  { readonly kind: 'taken' } | { readonly kind: 'closed' } | { readonly kind: 'not_invited' } | Throttled;

export type SignInResult = ({ readonly kind: 'signed_in' } & NewSession) | { readonly kind: 'refused' } | Throttled;

export type IdentityResult =
  | ({ readonly kind: 'signed_in' } & NewSession)
  /** The user is disabled. */
  | { readonly kind: 'refused' }
  /** The identity is new, and comes without a verified address. */
  | { readonly kind: 'unverified' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'not_invited' };

export interface Throttled {
  readonly kind: 'throttled';
  readonly retryAfterMs: number;
}

export interface SessionLimits {
  readonly idleMs: number;
  readonly maxAgeMs: number;
}

const DAY_MS = 86_400_000;
export const DEFAULT_SESSION_LIMITS: SessionLimits = { idleMs: 14 * DAY_MS, maxAgeMs: 90 * DAY_MS };
/** Of one user. */
export const MAX_SESSIONS = 50;
export const MAX_WAITING_HASHES = 64;
/** How young a session must be to set a password where there is none. */
export const FRESH_SESSION_MS = 600_000;
