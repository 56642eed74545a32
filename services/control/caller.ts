import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import type { Principal } from '#lib/auth/principal.ts';
import { rolesWith } from '#lib/auth/roles.ts';
import type { Scope } from '#lib/auth/scopes.ts';
import type { Gate } from '#lib/server/gate.ts';
import { originOf } from '#lib/server/origin.ts';
import type { Admission } from '#lib/server/rpc.ts';
import type { Organization } from '#lib/store/records.ts';
import type { Mandate, Store } from '#lib/store/store.ts';

/** What the calls of this service work with. */
export interface Control {
  readonly gate: Gate;
  readonly store: Store;
  /** Where the edge is reached, without a trailing slash: a part of every DSN. Undefined: where the call came in. */
  readonly publicUrl: string | undefined;
  /** The region of organizations that are made without one. */
  readonly defaultRegion: string;
  readonly now: () => number;
}

/** Who calls, and where the edge is for them. */
export interface Caller {
  readonly principal: Principal;
  readonly edgeUrl: string;
}

/** Makes an RPC's handler of a use case. No call reaches one but through the gate. */
export function guarded<I extends DescMessage, O extends DescMessage>(
  control: Control,
  callers: Admission<Principal>,
  method: DescMethodUnary<I, O>,
  act: (control: Control, request: MessageShape<I>, caller: Caller) => Promise<MessageInitShape<O>>,
) {
  const { gate, publicUrl } = control;
  return async (request: MessageShape<I>, context: HandlerContext): Promise<MessageInitShape<O>> => {
    gate.validate(method.input, request);
    return act(control, request, { principal: callers.claimsOf(context), edgeUrl: publicUrl ?? originOf(context) });
  };
}

/**
 * Nobody gives what they don't have: a token that makes tokens, or owners, would be worth every scope.
 * @throws Refusal `scope_missing`
 */
export async function requireScopes(
  { gate }: Control,
  { principal }: Caller,
  organization: Organization,
  given: Iterable<Scope>,
): Promise<void> {
  for (const scope of given) await gate.requireScope(principal, organization.id, scope);
}

/**
 * By whose leave something is changed. The scopes are those that were asked for at the gate: the store asks for a role that
 * has them again, as it may be lost while the change waits for its turn.
 */
export function mandateOf({ principal: { actor } }: Caller, organizationId: bigint, scopes: Iterable<Scope>): Mandate {
  return { actor, organizationId, roles: rolesWith(scopes) };
}
