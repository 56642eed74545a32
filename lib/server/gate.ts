import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { createValidator, type Validator, type Violation } from '@bufbuild/protovalidate';
import { KeysUnavailableError } from '#lib/auth/key-source.ts';
import { type CallerVerifier, type Principal, TokensUnavailableError } from '#lib/auth/principal.ts';
import type { PublishClaims, PublishTokenVerifier } from '#lib/auth/publish-token.ts';
import type { Scope } from '#lib/auth/scopes.ts';
import type { StreamClaims, StreamTokenVerifier } from '#lib/auth/stream-token.ts';
import { invalidField, invalidFields, Refusal, type RefusalReason } from './refusal.ts';

/**
 * The one gate before every use case, for RPCs and raw routes alike: who is calling, is the message well formed, and does
 * it belong to what the token is for. Authentication comes before anything of the body is looked at.
 */
export class Gate {
  readonly #validator: Validator = createValidator();
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** A publisher, by the value of its Authorization header. @throws Refusal */
  authenticatePublisher(authorization: string | undefined): PublishClaims | Promise<PublishClaims> {
    const token = bearer(authorization);
    const verifier = this.#options.publishTokens;
    if (verifier === undefined) throw new Refusal('publish_token_invalid');
    const cached = verifier.verifyCached(token);
    const settle = (result: Awaited<ReturnType<PublishTokenVerifier['verify']>>): PublishClaims =>
      claimsOf(result, 'publish_token_invalid');
    return cached === undefined ? verifier.verify(token).then(settle, keysAway) : settle(cached);
  }

  /** A listener, by its stream token. @throws Refusal */
  async authenticateListener(token: string): Promise<StreamClaims> {
    const verifier = this.#options.streamTokens;
    if (verifier === undefined) throw new Refusal('stream_token_invalid');
    const result = verifier.verifyCached(token) ?? (await verifier.verify(token).catch(keysAway));
    return claimsOf(result, 'stream_token_invalid');
  }

  /**
   * Somebody who manages things, by the headers of the call. What it may do is asked by {@link requireScope}.
   * @throws Refusal
   */
  authenticateCaller(headers: Headers): Promise<Principal> {
    return authenticate(headers, this.#options.callers ?? []);
  }

  /** Somebody who may start streams. Undefined: anybody may, as in development. @throws Refusal */
  async authenticateStarter(headers: Headers): Promise<Principal | undefined> {
    const { starters } = this.#options;
    if (starters === 'anybody') return undefined;
    if (starters === undefined || starters.length === 0) throw new Refusal('no_starters');
    return authenticate(headers, starters);
  }

  /**
   * Holds a caller to what it may do in an organization. To somebody without a part in it, it does not exist.
   * @throws Refusal `not_found`, `scope_missing`
   */
  async requireScope(principal: Principal, organizationId: bigint, scope: Scope): Promise<void> {
    const scopes = await principal.scopesIn(organizationId);
    if (scopes === undefined) throw new Refusal('not_found');
    if (!scopes.has(scope)) throw new Refusal('scope_missing', { text: `This needs the scope ${scope}` });
  }

  /** Holds a message to the rules of its contract. @throws Refusal with the first violations */
  validate<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): void {
    const result = this.#validator.validate(schema, message);
    if (result.kind === 'valid') return;
    if (result.kind === 'error') throw result.error;
    throw invalidFields(
      result.violations.map((violation) => ({
        field: pathOf(violation.field),
        description: violation.message,
      })),
    );
  }

  /** Holds a message to what its sender's token is for; a claim that is not there holds to nothing. @throws Refusal */
  requireClaims(
    claims: {
      readonly orgId?: bigint | undefined;
      readonly channelId?: string | undefined;
      /** More of them, or all there are. */
      readonly channelIds?: readonly string[] | undefined;
    },
    orgId: bigint,
    channelId: string,
  ): void {
    const otherOrg = claims.orgId !== undefined && claims.orgId !== orgId;
    const id = channelId.toLowerCase();
    const namesChannels = claims.channelId !== undefined || claims.channelIds !== undefined;
    const otherChannel = namesChannels && claims.channelId !== id && claims.channelIds?.includes(id) !== true;
    if (otherOrg || otherChannel) throw new Refusal('claims_differ');
  }
}

export interface GateOptions {
  readonly publishTokens?: PublishTokenVerifier | undefined;
  readonly streamTokens?: StreamTokenVerifier | undefined;
  /** Who may manage things. */
  readonly callers?: readonly CallerVerifier[];
  /** Who may start streams. Anybody: in development only. */
  readonly starters?: readonly CallerVerifier[] | 'anybody';
}

/** The token of an Authorization header. @throws Refusal */
export function bearer(authorization: string | undefined): string {
  if (authorization === undefined) throw new Refusal('missing_authorization');
  if (!authorization.startsWith('Bearer ')) throw new Refusal('invalid_authorization');
  return authorization.slice('Bearer '.length).trim();
}

/** An organization's id as URLs spell it. @throws Refusal */
export function parseOrgId(text: string, field: string): bigint {
  const value = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : 0n;
  if (value === 0n || value > MAX_UINT64) throw invalidField(field, 'must be an organization id, a whole number');
  return value;
}

const MAX_UINT64 = (1n << 64n) - 1n;

function claimsOf<C>(
  result: { kind: 'valid'; claims: C } | { kind: 'expired' } | { kind: 'invalid' },
  invalid: RefusalReason,
): C {
  if (result.kind === 'valid') return result.claims;
  throw new Refusal(result.kind === 'expired' ? 'token_expired' : invalid);
}

function keysAway(error: unknown): never {
  if (error instanceof KeysUnavailableError) throw new Refusal('keys_away', { cause: error });
  throw error;
}

/** As in `create.scopes[0]`. */
function pathOf(steps: Violation['field']): string {
  let path = '';
  for (const step of steps) {
    if ('name' in step) path += path === '' ? step.name : `.${step.name}`;
    else if (step.kind === 'list_sub') path += `[${step.index}]`;
  }
  return path;
}

function tokensAway(error: unknown): never {
  if (error instanceof TokensUnavailableError) throw new Refusal('control_away', { cause: error });
  throw error;
}

async function authenticate(headers: Headers, verifiers: readonly CallerVerifier[]): Promise<Principal> {
  for (const verifier of verifiers) {
    const principal = await verifier.authenticate(headers).catch(tokensAway);
    if (principal !== undefined) return principal;
  }
  bearer(headers.get('authorization') ?? undefined);
  throw new Refusal('api_token_invalid');
}
