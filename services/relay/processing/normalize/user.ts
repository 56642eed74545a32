import { isIP } from 'node:net';
import { isObject, type JsonObject, setOwn, textOf } from '../json.ts';
import type { Draft } from './draft.ts';

const ATTRIBUTES: ReadonlySet<string> = new Set(
  'id email ip_address username name geo segment data sentry_user'.split(' '),
);
const TEXTS = ['id', 'email', 'username', 'name', 'segment'] as const;
/** What stands for the address that the event came from. */
const AUTO = '{{auto}}';
/** Whose events come from the users themselves: a missing address is the sender's. */
const USERS_PLATFORMS: ReadonlySet<unknown> = new Set(['javascript', 'cocoa', 'objc']);

/** The user by the names that one searches by; what has none is under `data`. After the request and the platform. */
export function normalizeUser(draft: Draft): void {
  const { event, notes } = draft;
  const sent = event['user'];
  const user = isObject(sent) ? sent : undefined;
  if (user !== undefined) {
    for (const key of TEXTS) {
      const value = user[key];
      if (value === undefined || value === null) continue;
      const text = textOf(value);
      if (text === undefined) notes.invalid(['user', key], 'expected a string');
      user[key] = text ?? null;
    }
    moveUnknown(user);
  }
  const ip = addressOf(user, draft);
  if (user !== undefined) {
    user['ip_address'] = ip;
    nameUser(user);
  } else if (ip !== undefined) event['user'] = { ip_address: ip, sentry_user: `ip:${ip}` };
}

function moveUnknown(user: JsonObject): void {
  let data: JsonObject | undefined;
  for (const key of Object.keys(user)) {
    if (ATTRIBUTES.has(key)) continue;
    data ??= isObject(user['data']) ? user['data'] : {};
    if (!Object.hasOwn(data, key)) setOwn(data, key, user[key]);
    user[key] = undefined;
  }
  if (data !== undefined) user['data'] = data;
}

/** Undefined: unknown, or not to be known. Null: it was sent as nothing, or as what is no address. */
function addressOf(user: JsonObject | undefined, { event, notes, origin }: Draft): string | null | undefined {
  const sent = user?.['ip_address'];
  const isAuto = sent === AUTO;
  if (typeof sent === 'string' && isIP(sent.trim()) !== 0) return sent.trim();
  const isNone = sent === undefined || sent === null;
  if (!isNone && !isAuto) notes.invalid(['user', 'ip_address'], 'expected an ip address');

  const setting = inferIp(event['sdk']);
  const isMeant = isAuto || setting === 'auto' || (setting === undefined && USERS_PLATFORMS.has(event['platform']));
  const remote = remoteAddress(event['request']);
  // A request's address was sent, not inferred; that of this one is.
  if (isAuto && remote !== undefined && remote !== AUTO) return remote;
  const isAllowed = setting !== 'never' && !origin.project.scrubIpAddresses;
  const client = origin.sender.remoteAddr;
  const inferred = isAllowed && client !== undefined && isIP(client) !== 0 ? client : undefined;
  if (remote === AUTO) setRemoteAddress(event['request'], inferred);
  if (isMeant && inferred !== undefined) return inferred;
  return sent === undefined || isAuto ? undefined : null;
}

function inferIp(sdk: unknown): string | undefined {
  const settings = isObject(sdk) ? sdk['settings'] : undefined;
  const value = isObject(settings) ? settings['infer_ip'] : undefined;
  return value === 'auto' || value === 'never' ? value : undefined;
}

/** Of the request that the event is about. Undefined: none is given. */
function remoteAddress(request: unknown): string | undefined {
  const env = isObject(request) ? request['env'] : undefined;
  const value = isObject(env) ? env['REMOTE_ADDR'] : undefined;
  return typeof value === 'string' && (value === AUTO || isIP(value) !== 0) ? value : undefined;
}

function setRemoteAddress(request: unknown, address: string | undefined): void {
  const env = isObject(request) ? request['env'] : undefined;
  if (isObject(env)) env['REMOTE_ADDR'] = address;
}

/** What tells users apart, in one word. */
function nameUser(user: JsonObject): void {
  const [prefix, key] =
    (
      [
        ['id', 'id'],
        ['username', 'username'],
        ['email', 'email'],
        ['ip', 'ip_address'],
      ] as const
    ).find(([, name]) => typeof user[name] === 'string' && user[name] !== '') ?? [];
  if (key !== undefined) user['sentry_user'] = `${prefix}:${user[key]}`;
}
