import { fromJson, type JsonObject, type JsonValue, type Message } from '@bufbuild/protobuf';
import type { Command } from './commands.ts';
import { type Flags, parseRateLimit } from './options.ts';

/** A request that can't be made of what a person said. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
}

export interface RequestParts {
  readonly name: string | undefined;
  readonly flags: Flags;
  readonly organization: string | undefined;
  readonly project: string | undefined;
  readonly nowMs: number;
}

/** Makes a command's request, by the contract's JSON names. @throws RequestError */
export function requestOf(command: Command, parts: RequestParts): Message {
  const { fields, cleared } = fieldsOf(parts);
  const request: JsonObject = { ...pathOf(command, parts) };
  const content = { ...fields, ...command.fixed };
  if (command.body === undefined) Object.assign(request, content);
  else request[command.body] = { ...content, ...bodyOf(parts.flags) };
  const mask = maskOf(parts.flags, content, cleared);
  if (mask !== undefined) request['update_mask'] = mask;
  try {
    return fromJson(command.method.input, request);
  } catch (error) {
    throw new RequestError(error instanceof Error ? reasonOf(error) : 'The request can not be made');
  }
}

function pathOf({ method, names }: Command, { name, organization, project }: RequestParts): JsonObject {
  const path: JsonObject = {};
  const add = (variable: string, value: string | undefined, missing: string) => {
    if (!method.input.fields.some((field) => field.name === variable)) return;
    if (value === undefined) throw new RequestError(missing);
    path[variable] = value;
  };
  add('organization', names === 'organization' ? name : organization, 'No organization: add --org.');
  add('project', names === 'project' ? name : project, 'No project: add --project.');
  if (names !== undefined && name !== undefined) path[names] = name;
  return path;
}

function fieldsOf({ flags, nowMs }: RequestParts): { fields: JsonObject; cleared: string[] } {
  const fields: JsonObject = {};
  const cleared: string[] = [];
  const copy = (flag: keyof Flags, field: string, read: (text: string) => JsonValue = (text) => text) => {
    const value = flags[flag];
    if (typeof value === 'string') fields[field] = read(value);
    else if (value !== undefined) fields[field] = value.map(read);
  };
  copy('name', 'name');
  copy('slug', 'slug');
  copy('region', 'region');
  copy('platform', 'platform');
  copy('allowed-domain', 'allowed_domains');
  copy('retention-days', 'retention_days', number('--retention-days'));
  copy('email', 'email');
  copy('role', 'role', role);
  copy('scope', 'scopes');
  copy('etag', 'etag');
  for (const name of ['query', 'level', 'release', 'environment', 'category'] as const) copy(name, name);
  copy('page-size', 'page_size', number('--page-size'));
  copy('page-token', 'page_token');
  copy('expires-in-days', 'expire_time', (days) =>
    new Date(nowMs + number('--expires-in-days')(days) * 86_400_000).toISOString(),
  );
  const rateLimit = flags['rate-limit'];
  if (typeof rateLimit === 'string') {
    const limit = parseRateLimit(rateLimit);
    if (limit === undefined) throw new RequestError('--rate-limit must look like 5/60s, or be none.');
    if (limit === null) cleared.push('rate_limit');
    else fields['rate_limit'] = limit;
  }
  return { fields, cleared };
}

/** What is to be cleared must be named, and with it what is set. */
function maskOf(flags: Flags, content: JsonObject, cleared: readonly string[]): string | undefined {
  if (typeof flags.mask === 'string') return camelPaths(flags.mask);
  if (cleared.length === 0) return undefined;
  const { etag: _, ...changed } = { ...content, ...bodyOf(flags) };
  return camelPaths([...Object.keys(changed), ...cleared].join(','));
}

/** A mask's own JSON has no underscores. */
function camelPaths(paths: string): string {
  return paths.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function bodyOf({ body }: Flags): JsonObject {
  if (typeof body !== 'string') return {};
  let value: JsonValue;
  try {
    value = JSON.parse(body) as JsonValue;
  } catch {
    throw new RequestError('--body must be JSON.');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RequestError('--body must be a JSON object.');
  }
  return value;
}

function role(text: string): string {
  if (!['member', 'admin', 'owner'].includes(text)) throw new RequestError('--role must be member, admin or owner.');
  return `ROLE_${text.toUpperCase()}`;
}

function number(flag: string): (text: string) => number {
  return (text) => {
    if (!/^\d{1,9}$/.test(text)) throw new RequestError(`${flag} must be a whole number.`);
    return Number(text);
  };
}

/** protobuf's errors name the message first, which says nothing to a person. */
function reasonOf({ message }: Error): string {
  return `${message.replace(/^cannot decode \S+ (\S+ )?from JSON: /, '')}.`;
}
