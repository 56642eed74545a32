import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { isNewFile, unusable } from '#lib/sql/unusable-file.ts';
import { LogUnavailableError } from './log.ts';
import { isGone, processIdentity } from './process-identity.ts';
import { isBusy, whenFree } from './sqlite-log-file.ts';
import type { SqlitePartition } from './sqlite-reader.ts';

export interface Member {
  readonly group: string;
  /** Unique. */
  readonly id: string;
  readonly topics: readonly string[];
}

/** A partition that a member may handle, and where it goes on. */
export interface Claim extends SqlitePartition {
  readonly position: number;
}

/** A member that was not heard of for so long has none any more. One whose process has ended: at once. */
const MEMBER_TTL_MS = 10_000;
const OPEN_TIMEOUT_MS = 5_000;
const LOCK_DEADLINE_MS = 5_000;
const LOCK_RETRY_MS = 3;
const OWN_TABLE = 'positions';

const SCHEMA = `
create table if not exists members (
  id text not null primary key,
  group_name text not null,
  process text not null,
  topics text not null,
  expires_ms integer not null
) strict;
create table if not exists positions (
  group_name text not null,
  topic_id text not null,
  partition integer not null,
  position integer not null,
  member text,
  primary key (group_name, topic_id, partition)
) strict, without rowid;
`;

/**
 * Who handles which partitions, and how far each group is. In a file beside the log, so that a position that is kept waits
 * for no append, and no append for it. It isn't synced at each commit: a power loss may take the last positions, and what
 * was handled since comes again. It can't be ahead of the log, whose records are on the disk before they can be read.
 */
export class SqliteGroups {
  readonly #database: DatabaseSync;
  readonly #process = processIdentity() ?? '';
  readonly #join: StatementSync;
  readonly #members: StatementSync;
  readonly #leave: StatementSync;
  readonly #positions: StatementSync;
  readonly #assign: StatementSync;
  readonly #release: StatementSync;
  readonly #commit: StatementSync;

  constructor(dataDir: string) {
    const database = openGroups(join(dataDir, 'log-groups.sqlite'));
    this.#database = database;
    this.#join = database.prepare(
      `insert into members values (?, ?, ?, ?, ?) on conflict (id) do update set expires_ms = excluded.expires_ms`,
    );
    this.#members = database.prepare(
      'select id, process, topics, expires_ms from members where group_name = ? order by id',
    );
    this.#leave = database.prepare('delete from members where id = ?');
    this.#positions = database.prepare(
      'select topic_id, partition, position, member from positions where group_name = ?',
    );
    this.#assign = database.prepare(
      `insert into positions values (?, ?, ?, 0, ?) on conflict do update set member = excluded.member`,
    );
    this.#release = database.prepare('update positions set member = null where group_name = ? and member = ?');
    this.#commit = database.prepare(
      `update positions set position = ?
       where group_name = ? and topic_id = ? and partition = ? and member = ? and position = ?`,
    );
  }

  /**
   * Says that the member lives, takes the partitions that are its share and are free, and gives up those that are another's
   * share, but for the one that it is `handling`.
   * @returns what it has now
   */
  renew(member: Member, partitions: readonly SqlitePartition[], handling: Claim | undefined): Promise<Claim[]> {
    return this.#write(() => {
      this.#join.run(member.id, member.group, this.#process, JSON.stringify(member.topics), Date.now() + MEMBER_TTL_MS);
      const members = this.#livingMembers(member.group);
      const held = this.#positionsOf(member.group);
      const claims: Claim[] = [];
      for (const partition of partitions) {
        const { topic, topicId, partition: number } = partition;
        const { owner, position } = held.get(keyOf(topicId, number)) ?? { owner: undefined, position: 0 };
        const mine = owner === member.id;
        const shouldBeMine = shareholder(topic, number, members) === member.id;
        const isHandling = handling?.id === partition.id;
        if (mine && !shouldBeMine && !isHandling) this.#assign.run(member.group, topicId, number, null);
        else if (mine) claims.push({ ...partition, position });
        else if (shouldBeMine && !members.some(({ id }) => id === owner)) {
          this.#assign.run(member.group, topicId, number, member.id);
          claims.push({ ...partition, position });
        }
      }
      return claims;
    });
  }

  /** Whether the claim still was the member's, all the time. */
  commit(member: Member, { topicId, partition, position: from }: Claim, position: number): Promise<boolean> {
    return this.#write(
      () => Number(this.#commit.run(position, member.group, topicId, partition, member.id, from).changes) === 1,
    );
  }

  leave(member: Member): Promise<void> {
    return this.#write(() => {
      this.#release.run(member.group, member.id);
      this.#leave.run(member.id);
    });
  }

  position(group: string, { topicId, partition }: SqlitePartition): number {
    try {
      return this.#positionsOf(group).get(keyOf(topicId, partition))?.position ?? 0;
    } catch (cause) {
      throw new LogUnavailableError("SQLite: groups' positions can not be read", { cause });
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #livingMembers(group: string): { readonly id: string; readonly topics: readonly string[] }[] {
    const living = [];
    for (const row of this.#members.all(group)) {
      const id = String(row['id']);
      const process = String(row['process']);
      const leftMs = Number(row['expires_ms']) - Date.now();
      // Nobody has that much left but who was last heard of before the clock was set back: who lives says so again soon.
      const isSilent = leftMs < 0 || leftMs > 2 * MEMBER_TTL_MS;
      if (isSilent || (process !== '' && process !== this.#process && isGone(process))) {
        this.#leave.run(id);
      } else {
        living.push({ id, topics: JSON.parse(String(row['topics'])) as string[] });
      }
    }
    return living;
  }

  #positionsOf(group: string): Map<string, { readonly owner: string | undefined; readonly position: number }> {
    return new Map(
      this.#positions
        .all(group)
        .map(({ topic_id, partition, position, member }) => [
          keyOf(String(topic_id), Number(partition)),
          { owner: member === null ? undefined : String(member), position: Number(position) },
        ]),
    );
  }

  async #write<T>(act: () => T): Promise<T> {
    const deadlineMs = performance.now() + LOCK_DEADLINE_MS;
    for (;;) {
      try {
        return this.#transaction(act);
      } catch (cause) {
        if (!isBusy(cause) || performance.now() > deadlineMs) {
          throw new LogUnavailableError("SQLite: groups' positions can not be kept", { cause });
        }
      }
      await delay(LOCK_RETRY_MS * (1 + Math.random()));
    }
  }

  #transaction<T>(act: () => T): T {
    this.#database.exec('begin immediate');
    try {
      const result = act();
      this.#database.exec('commit');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback');
      throw error;
    }
  }
}

/** @throws UnusableFileError */
function openGroups(file: string): DatabaseSync {
  try {
    return whenFree(() => open(file));
  } catch (error) {
    throw unusable(file, error);
  }
}

function open(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: OPEN_TIMEOUT_MS });
  try {
    const isNew = isNewFile(database, file, OWN_TABLE);
    chmodSync(file, 0o600);
    database.exec('pragma journal_mode = wal; pragma synchronous = normal');
    // All at once: what tells the file from somebody else's must not be missing after a kill.
    if (isNew) database.exec(`begin immediate; ${SCHEMA} commit`);
    // From here on it is waited for without holding up the event loop.
    database.exec('pragma busy_timeout = 0');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Partitions go round the members; where they begin differs, so that topics don't all begin with the same one. */
function shareholder(
  topic: string,
  partition: number,
  members: readonly { readonly id: string; readonly topics: readonly string[] }[],
): string | undefined {
  const candidates = members.filter(({ topics }) => topics.includes(topic));
  return candidates[(crc32(topic) + partition) % candidates.length]?.id;
}

function keyOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}
