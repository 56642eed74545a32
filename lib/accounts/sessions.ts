import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Access } from '#lib/store/access.ts';
import type { SessionTable } from '#lib/store/account-tables.ts';
import type { User } from '#lib/store/records.ts';
import type { Schema } from '#lib/store/schema.ts';
import { userOf } from '#lib/store/users.ts';
import { MAX_SESSIONS, type NewSession, type Session, type SessionLimits } from './accounts.ts';
import { newSessionToken, sessionTokenHash } from './session-token.ts';

/** How exactly it is known when a session was last used. */
const MAX_USE_NOTE_MS = 60_000;
/** Of others' that have ended, with each new one: more than are made. */
const SWEPT_AT_ONCE = 10;

export class Sessions {
  readonly #access: Access;
  readonly #limits: SessionLimits;
  readonly #now: () => number;

  constructor(access: Access, limits: SessionLimits, now: () => number) {
    this.#access = access;
    this.#limits = limits;
    this.#now = now;
  }

  /**
   * One query at each call, so that an end is an end everywhere at once. Times are compared both ways: where a clock was
   * ahead, what it noted would keep a session for as long as it was. Its age is looked at beside its end, or who lowers the
   * limit after a theft would wait for it as long as before.
   */
  async find(token: string): Promise<Session | undefined> {
    const hash = sessionTokenHash(token);
    if (hash === undefined) return undefined;
    const nowMs = this.#now();
    const { idleMs, maxAgeMs } = this.#limits;
    const row = await this.#access.read((db) =>
      db
        .selectFrom('sessions')
        .innerJoin('users', 'users.id', 'sessions.user_id')
        .selectAll('users')
        .select(['sessions.id as session_id', 'sessions.created_ms as began_ms', 'used_ms', 'ends_ms'])
        .where('token_hash', '=', hash)
        .where('ends_ms', '>', BigInt(nowMs))
        .where('sessions.created_ms', '>', BigInt(nowMs - maxAgeMs))
        .where('sessions.created_ms', '<', BigInt(nowMs + maxAgeMs))
        .where('used_ms', '>', BigInt(nowMs - idleMs))
        .where('used_ms', '<', BigInt(nowMs + idleMs))
        .where('users.state', '=', 'active')
        .executeTakeFirst(),
    );
    if (row === undefined) return undefined;
    if (Math.abs(nowMs - Number(row.used_ms)) >= Math.min(MAX_USE_NOTE_MS, idleMs / 10)) {
      const used = { used_ms: BigInt(nowMs) };
      await this.#access.noteUse((db) =>
        db.updateTable('sessions').set(used).where('id', '=', row.session_id).execute(),
      );
    }
    const { session_id: id, began_ms, ends_ms } = row;
    return { id, user: userOf(row), createdMs: Number(began_ms), expiresMs: Number(ends_ms) };
  }

  /** Within the caller's transaction. */
  async begin(tx: Kysely<Schema>, user: User): Promise<NewSession> {
    const { token, hash } = newSessionToken();
    const nowMs = this.#now();
    const row: SessionTable = {
      id: randomUUID(),
      token_hash: hash,
      user_id: user.id,
      created_ms: BigInt(nowMs),
      used_ms: BigInt(nowMs),
      ends_ms: BigInt(nowMs + this.#limits.maxAgeMs),
    };
    await this.#makeRoom(tx, user.id, nowMs);
    await tx.insertInto('sessions').values(row).execute();
    return { token, session: { id: row.id, user, createdMs: nowMs, expiresMs: Number(row.ends_ms) } };
  }

  /** Whose it is, if it has not ended since it was found. */
  async user(tx: Kysely<Schema>, { id }: Session): Promise<User | undefined> {
    const row = await tx
      .selectFrom('users')
      .innerJoin('sessions', 'sessions.user_id', 'users.id')
      .selectAll('users')
      .where('sessions.id', '=', id)
      .where('users.state', '=', 'active')
      .executeTakeFirst();
    return row && userOf(row);
  }

  async end(id: string): Promise<void> {
    await this.#access.note((db) => db.deleteFrom('sessions').where('id', '=', id).execute());
  }

  async endAll(db: Kysely<Schema>, userId: string): Promise<void> {
    await db.deleteFrom('sessions').where('user_id', '=', userId).execute();
  }

  async #makeRoom(tx: Kysely<Schema>, userId: string, nowMs: number): Promise<void> {
    const kept = tx
      .selectFrom('sessions')
      .select('id')
      .where('user_id', '=', userId)
      .orderBy('created_ms', 'desc')
      .limit(MAX_SESSIONS - 1);
    await tx.deleteFrom('sessions').where('user_id', '=', userId).where('id', 'not in', kept).execute();
    const ended = tx.selectFrom('sessions').select('id').where('ends_ms', '<=', BigInt(nowMs)).limit(SWEPT_AT_ONCE);
    await tx.deleteFrom('sessions').where('id', 'in', ended).execute();
  }
}
