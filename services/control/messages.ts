import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Role, State } from '#gen/tideway/control/v1/resources_pb.ts';
import { invalidField } from '#lib/server/refusal.ts';
import type * as records from '#lib/store/records.ts';

/** What several resources have in common, between the store's records and the contract's messages. */

export function stateOf(state: records.State): State {
  return state === 'active' ? State.ACTIVE : State.DISABLED;
}

/** @throws Refusal where an update leaves nothing of it */
export function stateFrom(state: State): records.State {
  switch (state) {
    case State.ACTIVE:
      return 'active';
    case State.DISABLED:
      return 'disabled';
    default:
      throw invalidField('update.state', 'must be STATE_ACTIVE or STATE_DISABLED');
  }
}

/** What is new is in use: it can be disabled once it is there. @throws Refusal */
export function requireActive(state: State): void {
  if (state === State.DISABLED) throw invalidField('create.state', 'must not be STATE_DISABLED yet');
}

const ROLES = { member: Role.MEMBER, admin: Role.ADMIN, owner: Role.OWNER } as const satisfies Record<
  records.Role,
  Role
>;

export function roleOf(role: records.Role): Role {
  return ROLES[role];
}

/** @throws Refusal */
export function roleFrom(role: Role, field: string): records.Role {
  switch (role) {
    case Role.MEMBER:
      return 'member';
    case Role.ADMIN:
      return 'admin';
    case Role.OWNER:
      return 'owner';
    default:
      throw invalidField(field, 'must be a role');
  }
}

/** @throws Refusal */
export function requireText(field: string, text: string): string {
  if (text.trim() === '') throw invalidField(field, 'must not be empty');
  return text;
}

export function timeOf(ms: number): Timestamp;
export function timeOf(ms: number | undefined): Timestamp | undefined;
export function timeOf(ms: number | undefined): Timestamp | undefined {
  return ms === undefined ? undefined : timestampFromMs(ms);
}
