import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient, createRouterTransport } from '@connectrpc/connect';
import { afterAll, beforeAll } from 'vitest';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { type CallerVerifier, type Principal, tokenPrincipal } from '#lib/auth/principal.ts';
import { ROLE_SCOPES } from '#lib/auth/roles.ts';
import { SCOPES, type Scope, scopeSet } from '#lib/auth/scopes.ts';
import { Gate } from '#lib/server/gate.ts';
import { refusalInterceptor } from '#lib/server/rpc.ts';
import { openStore } from '#lib/store/open-store.ts';
import type { ApiToken, Organization, User } from '#lib/store/records.ts';
import type { Store } from '#lib/store/store.ts';
import { controlService } from './routes.ts';

export const NOW_MS = Date.UTC(2030, 0, 1);

/** The control service on a store of its own, for the tests of one file. */
export interface ControlSetting {
  readonly store: Store;
  /** Calls as whoever operates the installation. */
  readonly operator: Client<typeof ControlService>;
  /** Calls as somebody with some scopes in one organization. */
  holder(organization: Organization, ...scopes: Scope[]): Client<typeof ControlService>;
  /** Calls with a token of the store's. */
  token(token: ApiToken): Client<typeof ControlService>;
  /** Calls as a user. */
  user(user: User): Client<typeof ControlService>;
  /** Calls as a user to whom this happens each time that a call has been let in. */
  loser(user: User, happen: () => Promise<unknown>): Client<typeof ControlService>;
  newOrganization(): Promise<Organization>;
  newUser(): Promise<User>;
}

export function openControl(): () => ControlSetting {
  let dir = '';
  let store: Store;
  let setting: ControlSetting;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tideway-control-'));
    store = await openStore({ dataDir: dir });
    setting = settingOf(store);
  });
  afterAll(async () => {
    await store?.close();
    await rm(dir, { recursive: true, force: true });
  });
  return () => setting;
}

function settingOf(store: Store): ControlSetting {
  const userPrincipal = ({ id }: User) => ({
    actor: `user:${id}` as const,
    reach: { kind: 'memberships', userId: id } as const,
    async scopesIn(organizationId: bigint) {
      const member = await store.members.get(organizationId, id);
      return member && ROLE_SCOPES[member.role];
    },
  });
  return {
    store,
    operator: clientFor(store, {
      actor: 'system',
      reach: { kind: 'installation' },
      scopesIn: async () => scopeSet(SCOPES),
    }),
    holder: ({ id }, ...scopes) =>
      clientFor(store, {
        actor: 'system',
        reach: { kind: 'organization', organizationId: id },
        scopesIn: async (asked) => (asked === id ? scopeSet(scopes) : undefined),
      }),
    token: (token) => clientFor(store, tokenPrincipal(token)),
    user: (user) => clientFor(store, userPrincipal(user)),
    loser(user, happen) {
      const principal = userPrincipal(user);
      // What the role allowed when it was asked, however often it is.
      let scopes: Promise<ReadonlySet<Scope> | undefined> | undefined;
      const letIn = async (organizationId: bigint) => {
        const found = await principal.scopesIn(organizationId);
        await happen();
        return found;
      };
      return clientFor(store, { ...principal, scopesIn: (id) => (scopes ??= letIn(id)) });
    },
    newOrganization: () => store.organizations.create('system', { name: 'Acme', region: 'eu' }),
    newUser: () => store.users.create('system', { email: `${crypto.randomUUID()}@example.com`, name: 'Ada' }),
  };
}

function clientFor(store: Store, principal: Principal): Client<typeof ControlService> {
  const everybody: CallerVerifier = { authenticate: async () => principal };
  const { rpc } = controlService({
    gate: new Gate({ callers: [everybody] }),
    store,
    publicUrl: 'https://edge.example',
    defaultRegion: 'eu',
    now: () => NOW_MS,
  });
  const onError = (error: unknown) => {
    throw error;
  };
  return createClient(
    ControlService,
    createRouterTransport((router) => rpc(router, onError), {
      router: { interceptors: [refusalInterceptor(onError)] },
    }),
  );
}
