import type { DescMessage, DescMethodUnary } from '@bufbuild/protobuf';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { EventService } from '#gen/tideway/events/v1/event_service_pb.ts';

/** Something that can be done: a call, and how a person says it. */
export interface Command {
  /** As in `projects`. */
  readonly resource: string;
  /** As in `list`. */
  readonly verb: string;
  readonly method: DescMethodUnary<DescMessage, DescMessage>;
  /** The path variable that stands after the verb, as in `keys update <key>`. */
  readonly names?: 'organization' | 'project' | 'key' | 'member' | 'invitation' | 'token' | 'event';
  /** The field of the request that takes what the flags say; none: they are the request's own. */
  readonly body?: 'create' | 'update';
  /** The flags that make sense, beside those of every command. */
  readonly flags?: readonly FlagName[];
  /** What is sent without being said. */
  readonly fixed?: Readonly<Record<string, string>>;
  readonly about: string;
}

export type FlagName =
  | 'name'
  | 'slug'
  | 'region'
  | 'platform'
  | 'allowed-domain'
  | 'retention-days'
  | 'rate-limit'
  | 'email'
  | 'role'
  | 'scope'
  | 'expires-in-days'
  | 'etag'
  | 'body'
  | 'mask'
  | 'query'
  | 'level'
  | 'release'
  | 'environment'
  | 'category'
  | 'page-size'
  | 'page-token';

const { method } = ControlService;
const PAGE = ['page-size', 'page-token'] as const;
const DISABLED = { state: 'STATE_DISABLED' };
const ACTIVE = { state: 'STATE_ACTIVE' };

export const COMMANDS: readonly Command[] = [
  ...resource('organizations', 'organization', {
    list: method.listOrganizations,
    get: method.getOrganization,
    create: { method: method.createOrganization, flags: ['name', 'slug', 'region', 'body'] },
    update: { method: method.updateOrganization, flags: ['name', 'slug', 'etag', 'body', 'mask'] },
  }),
  ...resource('projects', 'project', {
    list: method.listProjects,
    get: method.getProject,
    create: {
      method: method.createProject,
      flags: ['name', 'slug', 'platform', 'allowed-domain', 'retention-days', 'body'],
    },
    update: {
      method: method.updateProject,
      flags: ['name', 'slug', 'platform', 'allowed-domain', 'retention-days', 'etag', 'body', 'mask'],
    },
  }),
  ...resource('keys', 'key', {
    list: method.listProjectKeys,
    get: method.getProjectKey,
    create: { method: method.createProjectKey, flags: ['name', 'rate-limit', 'body'] },
    update: { method: method.updateProjectKey, flags: ['name', 'rate-limit', 'etag', 'body', 'mask'] },
  }),
  {
    resource: 'keys',
    verb: 'rotate',
    method: method.rotateProjectKey,
    names: 'key',
    flags: ['etag'],
    about: 'disables it and makes another',
  },
  list('members', method.listMembers),
  { resource: 'members', verb: 'get', method: method.getMember, names: 'member', about: 'shows one' },
  {
    resource: 'members',
    verb: 'update',
    method: method.updateMember,
    names: 'member',
    body: 'update',
    flags: ['role', 'body', 'mask'],
    about: 'gives another role',
  },
  { resource: 'members', verb: 'delete', method: method.deleteMember, names: 'member', about: 'ends a membership' },
  list('invitations', method.listInvitations),
  {
    resource: 'invitations',
    verb: 'create',
    method: method.createInvitation,
    body: 'create',
    flags: ['email', 'role', 'body'],
    about: 'invites, and says the secret this once',
  },
  {
    resource: 'invitations',
    verb: 'delete',
    method: method.deleteInvitation,
    names: 'invitation',
    about: 'takes it back',
  },
  list('tokens', method.listApiTokens),
  { resource: 'tokens', verb: 'get', method: method.getApiToken, names: 'token', about: 'shows one' },
  {
    resource: 'tokens',
    verb: 'create',
    method: method.createApiToken,
    body: 'create',
    flags: ['name', 'scope', 'expires-in-days', 'body'],
    about: 'makes one, and says the secret this once',
  },
  { resource: 'tokens', verb: 'revoke', method: method.revokeApiToken, names: 'token', about: 'ends it for ever' },
  {
    ...list('events', EventService.method.listEvents, 'shows what was reported, the newest first'),
    flags: ['query', 'level', 'release', 'environment', 'category', ...PAGE],
  },
  { resource: 'events', verb: 'get', method: EventService.method.getEvent, names: 'event', about: 'shows one, whole' },
  {
    ...list('outcomes', EventService.method.listOutcomes, 'counts what became of everything in the last 24 hours'),
    flags: ['category'],
  },
  list('audit', method.listAuditEntries, 'shows who changed what, the newest first'),
  list('regions', method.listRegions),
];

export function findCommand(resourceName: string, verb: string): Command | undefined {
  return COMMANDS.find((command) => command.resource === resourceName && command.verb === verb);
}

interface Calls {
  readonly list: Command['method'];
  readonly get: Command['method'];
  readonly create: Pick<Command, 'method' | 'flags'>;
  readonly update: Pick<Command, 'method' | 'flags'>;
}

/** What can be done with everything that is made, changed, disabled and enabled again. */
function resource(name: string, names: NonNullable<Command['names']>, calls: Calls): Command[] {
  const change = { resource: name, names, method: calls.update.method, body: 'update', flags: ['etag'] } as const;
  return [
    list(name, calls.list),
    { resource: name, verb: 'get', method: calls.get, names, about: 'shows one' },
    { resource: name, verb: 'create', body: 'create', ...calls.create, about: 'makes one' },
    { ...change, verb: 'update', ...calls.update, about: 'changes what is said' },
    { ...change, verb: 'disable', fixed: DISABLED, about: 'refuses it everywhere, until it is enabled' },
    { ...change, verb: 'enable', fixed: ACTIVE, about: 'takes it again' },
  ];
}

function list(name: string, call: Command['method'], about = 'shows a page'): Command {
  return { resource: name, verb: 'list', method: call, flags: PAGE, about };
}
