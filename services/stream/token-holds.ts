import type { StreamClaims } from '#lib/auth/stream-token.ts';
import type { ChannelKey } from '#lib/broker/broker.ts';
import { type Decision, type Decisions, type Subject, type TokenKey, tokenKey } from '#lib/broker/decisions.ts';
import { Lookups } from '#lib/broker/lookups.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { ControlNotice, Sink, TokenNotice } from './delivery.ts';
import {
  channelsOf,
  decisionsAway,
  findForEach,
  isRevokedBy,
  type RenewedToken,
  readRenewal,
} from './token-decisions.ts';

/** How long before its token's end a listener is told, where streams end with their tokens. */
export const TOKEN_ENDING_MS = 60_000;
/** After its end: clocks differ, and a new token presented at the last moment has to get here. */
export const CUT_AFTER_MS = 7_000;
const TURN_MS = 1_000;
/** Of one response; more are none of its own, and it ends with the token that it has then. */
export const MAX_RENEWALS = 1_000;

export interface TokenHoldsOptions {
  readonly decisions: Decisions;
  /** Ends streams whose token has ended. */
  readonly cutExpired: boolean;
  readonly onError: (error: unknown) => void;
  readonly now?: () => number;
}

/** The response that a token keeps open. */
export interface HeldResponse {
  /** Tells the listener, in the way that it understands. */
  tell(notice: TokenNotice): void;
  readonly sink: Pick<Sink<unknown>, 'end' | 'onGone' | 'isGone'>;
}

/** A response whose listener knows every control. */
export function tellingAll<T>(
  sink: Sink<T>,
  wire: { control(notice: ControlNotice, cursor: undefined): T },
): HeldResponse {
  return { sink, tell: (notice) => void sink.write(wire.control(notice, undefined)) };
}

interface Hold {
  /** What the token is for. */
  readonly channels: readonly ChannelKey[];
  readonly response: HeldResponse;
  /** Undefined: the token has no id, and can't be revoked by it, nor renewed. */
  token: TokenKey | undefined;
  issuedAtMs: number | undefined;
  expiresAtMs: number;
  /** The tokens that it had before, and when the present one was presented. */
  had: Set<TokenKey> | undefined;
  renewedAtMs: number;
  renewals: number;
  isWarned: boolean;
  /** The response has begun: before that nothing is written to it. */
  hasBegun: boolean;
  isRevoked: boolean;
}

/**
 * By which token each response of this process is open, for what happens to tokens afterwards. A revoked one ends its
 * responses, here and in every other process; a new one takes over those of the one before; and, where that is asked for, a
 * token's end is theirs.
 */
export class TokenHolds {
  readonly #options: Required<TokenHoldsOptions>;
  readonly #holds = new Set<Hold>();
  readonly #byToken = new Map<TokenKey, Set<Hold>>();
  readonly #lookups: Lookups<Hold>;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #end: () => void;
  /** The last renewal that was read: ten thousand responses may have one token, and a token a hundred channels. */
  #lastRead: { readonly detail: string; readonly renewal: RenewedToken | undefined } | undefined;

  constructor(options: TokenHoldsOptions) {
    this.#options = { now: Date.now, ...options };
    this.#lookups = new Lookups((holds) => this.#look(holds), options.onError);
    this.#end = options.decisions.watch({
      onDecision: (decision) => this.#decided(decision),
      onDoubt: () => this.#lookups.addAll(this.#holds),
    });
    if (options.cutExpired) this.#timer = setInterval(() => this.onTurn(), TURN_MS).unref();
  }

  get size(): number {
    return this.#holds.size;
  }

  /** @throws Refusal `token_revoked`, `broker_away` */
  async check(claims: StreamClaims): Promise<void> {
    const subjects = subjectsOf(channelsOf(claims), tokenOf(claims), false);
    const found = await this.#options.decisions.find(subjects).catch(decisionsAway);
    if (found.some((decision) => decision !== undefined && isRevokedBy(decision, claims))) {
      throw new Refusal('token_revoked');
    }
  }

  /**
   * Begins a response, and holds it to its token from now on.
   * @param begin Writes nothing to the sink if it throws or answers `at_end`.
   * @throws Refusal `token_revoked`, `broker_away`, and what `begin` throws
   */
  async hold(
    claims: StreamClaims,
    response: HeldResponse,
    begin: () => Promise<'following' | 'at_end'>,
  ): Promise<'following' | 'at_end'> {
    const { issuedAtMs, expiresAtMs } = claims;
    const [channels, token] = [channelsOf(claims), tokenOf(claims)];
    const hold: Hold = {
      channels,
      response,
      token,
      issuedAtMs,
      expiresAtMs,
      had: undefined,
      renewedAtMs: Number.NEGATIVE_INFINITY,
      renewals: 0,
      isWarned: false,
      hasBegun: false,
      isRevoked: false,
    };
    // Before it is looked up, so that nothing falls between.
    this.#add(hold);
    try {
      await this.#look([hold]).catch(decisionsAway);
      if (hold.isRevoked) throw new Refusal('token_revoked');
      const begun = await begin();
      this.#begun(hold, begun);
      return begun;
    } catch (error) {
      this.#release(hold);
      throw error;
    }
  }

  /** Of the clock, each second, where streams end with their tokens. */
  onTurn(): void {
    const nowMs = this.#options.now();
    for (const hold of this.#holds) {
      if (!hold.hasBegun) continue;
      if (nowMs >= hold.expiresAtMs + CUT_AFTER_MS) {
        this.#finish(hold, 'token_ended');
      } else if (!hold.isWarned && nowMs >= hold.expiresAtMs - TOKEN_ENDING_MS) {
        hold.isWarned = true;
        hold.response.tell({ type: 'token_ending' });
      }
    }
  }

  close(): void {
    this.#end();
    clearInterval(this.#timer);
    this.#lookups.close();
  }

  #decided(decision: Decision): void {
    switch (decision.kind) {
      case 'channel_revoked':
        for (const hold of this.#holds) {
          if (hold.channels.includes(decision.about as ChannelKey)) this.#apply(decision, hold);
        }
        break;
      case 'token_revoked':
      case 'token_renewed':
        for (const hold of [...(this.#byToken.get(decision.about as TokenKey) ?? [])]) this.#apply(decision, hold);
        break;
      default:
    }
  }

  #begun(hold: Hold, begun: 'following' | 'at_end'): void {
    const { sink } = hold.response;
    if (begun === 'at_end' || sink.isGone) {
      this.#release(hold);
      return;
    }
    hold.hasBegun = true;
    const { onGone } = sink;
    sink.onGone = () => {
      this.#release(hold);
      onGone();
    };
    // Revoked in the meantime.
    if (hold.isRevoked) this.#finish(hold, 'token_revoked');
  }

  async #look(holds: readonly Hold[]): Promise<void> {
    const { decisions, cutExpired } = this.#options;
    const subjects = holds.map(({ channels, token }) => subjectsOf(channels, token, cutExpired));
    const issuedMs = holds.map(({ issuedAtMs }) => issuedAtMs);
    const found = await findForEach(decisions, subjects);
    for (const [n, hold] of holds.entries()) {
      for (const decision of found[n] ?? []) {
        // It may have gone meanwhile.
        if (decision === undefined || !this.#holds.has(hold)) continue;
        // Or have another token by now, which mends nothing for what begins with one that is revoked.
        if (!hold.hasBegun && isRevokedBy(decision, { issuedAtMs: issuedMs[n] })) hold.isRevoked = true;
        this.#apply(decision, hold);
      }
    }
  }

  #apply(decision: Decision, hold: Hold): void {
    if (decision.kind === 'token_renewed') {
      const renewal = decision.about === hold.token ? this.#read(decision) : undefined;
      const covers = renewal && hold.channels.every((channel) => renewal.channels.has(channel));
      if (renewal && covers && isNews(hold, renewal, decision)) this.#renew(hold, renewal, decision);
    } else if (isRevokedBy(decision, hold) && (decision.kind === 'channel_revoked' || decision.about === hold.token)) {
      hold.isRevoked = true;
      if (hold.hasBegun) this.#finish(hold, 'token_revoked');
    }
  }

  #read(decision: Decision): RenewedToken | undefined {
    const { detail } = decision;
    if (this.#lastRead?.detail !== detail) this.#lastRead = { detail, renewal: readRenewal(decision) };
    return this.#lastRead.renewal;
  }

  #renew(hold: Hold, { token, issuedAtMs, expiresAtMs }: RenewedToken, { atMs }: Decision): void {
    this.#remove(hold);
    hold.had ??= new Set();
    if (hold.token !== undefined) hold.had.add(hold.token);
    hold.renewedAtMs = atMs;
    hold.renewals += 1;
    hold.token = token;
    hold.issuedAtMs = issuedAtMs;
    hold.expiresAtMs = expiresAtMs;
    hold.isWarned = false;
    this.#add(hold);
    // The new one may have been revoked, or renewed in its turn, before it was this one's.
    this.#lookups.add(hold);
  }

  #finish(hold: Hold, type: TokenNotice['type']): void {
    const { response } = hold;
    this.#release(hold);
    response.tell({ type });
    response.sink.end();
    response.sink.onGone();
  }

  #release(hold: Hold): void {
    this.#remove(hold);
    this.#lookups.forget(hold);
  }

  #add(hold: Hold): void {
    this.#holds.add(hold);
    if (hold.token === undefined) return;
    const others = this.#byToken.get(hold.token);
    if (others === undefined) this.#byToken.set(hold.token, new Set([hold]));
    else others.add(hold);
  }

  #remove(hold: Hold): void {
    this.#holds.delete(hold);
    if (hold.token === undefined) return;
    const others = this.#byToken.get(hold.token);
    others?.delete(hold);
    if (others?.size === 0) this.#byToken.delete(hold.token);
  }
}

/**
 * Tokens may have been presented for each other: one that a response had before is its own again only if that was later,
 * else it would be looked for without end.
 */
function isNews({ had, renewedAtMs, renewals }: Hold, { token }: RenewedToken, { atMs }: Decision): boolean {
  return renewals < MAX_RENEWALS && (had?.has(token) !== true || atMs > renewedAtMs);
}

function tokenOf({ orgId, tokenId }: StreamClaims): TokenKey | undefined {
  return tokenId === undefined ? undefined : tokenKey(orgId, tokenId);
}

function subjectsOf(channels: readonly ChannelKey[], token: TokenKey | undefined, andRenewals: boolean): Subject[] {
  const subjects: Subject[] = channels.map((about) => ({ kind: 'channel_revoked', about }));
  if (token !== undefined) {
    subjects.push({ kind: 'token_revoked', about: token });
    if (andRenewals) subjects.push({ kind: 'token_renewed', about: token });
  }
  return subjects;
}
