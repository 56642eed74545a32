import type { ChannelKey } from './broker.ts';
import type { Subject, TokenKey } from './decisions.ts';

/**
 * Every key and pub/sub channel that the broker uses on Redis. What belongs to one channel of an organization shares a
 * hash tag, and so a slot:
 *
 * | key | type | what |
 * |---|---|---|
 * | `tideway:{<org>:<channel>}:log` | stream | the entries: `prev`, `key` (`<messageId>/<phase>/<sequence>` or `producer_lost`), `data`; `coalesce` (ms) of a text delta that may be joined |
 * | `tideway:{<org>:<channel>}:index` | hash | derived from the log: each entry's `key` → its id; `last`, `bytes` (behind them, if it coalesces, the window and the last piece of the snapshot), the rate windows `unary` and `stream` (`<start ms>:<count>`), and `sealed` once it is |
 * | `tideway:{<org>:<channel>}:text`, `:pieces` | string, list | the snapshot of a channel that coalesces: the bytes of its pieces, and a word for each but the last. Scripts make these names of the log's (redis-snapshot-scripts.ts says why) |
 * | `tideway:{<org>:<channel>}:seal` | string | the id of the entry that sealed the channel; outlives the log |
 * | `tideway:{<org>:<channel>}:live` | sharded pub/sub | `<id> <prev> <message, end, producer_lost or text<ms>> <data>` |
 * | `tideway:activity:{0}` … `{63}` | sorted set | open channels (`<org>:<channel>`) by the ms of their last entry |
 * | `tideway:{<org>:<channel>}:cancelled`, `:channel_revoked` | string | `<at ms> <detail>` |
 * | `tideway:{<org>/<digest of a token's id>}:token_revoked`, `:token_renewed` | string | the same |
 * | …`:cancelled:told`, `:channel_revoked:told`, `:token_revoked:told`, `:token_renewed:told` | string | SHA-1 of the value that is in `tideway:decisions` |
 * | `tideway:{<org>/<digest of a token's id>}:count` | string | how many renewals it was presented for |
 * | `tideway:decisions` | stream | every decision as it was made: `kind`, `about` (what is in the braces above), `value` |
 * | `tideway:settings` | hash | `idle_ms`, `interval_ms`: what governs the TTL of open logs |
 * | `tideway:ping:{0}` … `{7}` | string | written by health checks; the first alone where there is no Cluster |
 */
export interface ChannelKeys {
  readonly log: string;
  readonly index: string;
  readonly seal: string;
  readonly live: string;
}

export const SETTINGS_KEY = 'tideway:settings';
export const DECISIONS_KEY = 'tideway:decisions';

/** The activity index is spread, so that no node of a Cluster carries it alone. */
export const ACTIVITY_SHARDS = 64;

const PING_KEYS = 8;

export function channelKeys(channel: ChannelKey): ChannelKeys {
  const tag = `tideway:{${channel}}`;
  return { log: `${tag}:log`, index: `${tag}:index`, seal: `${tag}:seal`, live: `${tag}:live` };
}

export function snapshotKeys(channel: ChannelKey): { readonly text: string; readonly pieces: string } {
  const tag = `tideway:{${channel}}`;
  return { text: `${tag}:text`, pieces: `${tag}:pieces` };
}

export function decisionKey({ kind, about }: Subject): string {
  return `tideway:{${about}}:${kind}`;
}

export function decisionToldKey(subject: Subject): string {
  return `${decisionKey(subject)}:told`;
}

export function tokenCountKey(token: TokenKey): string {
  return `tideway:{${token}}:count`;
}

export function activityKey(shard: number): string {
  return `tideway:activity:{${shard}}`;
}

export function activityShard(channel: ChannelKey): number {
  let hash = 0;
  for (let at = 0; at < channel.length; at += 1) hash = (Math.imul(hash, 31) + channel.charCodeAt(at)) | 0;
  return (hash >>> 0) % ACTIVITY_SHARDS;
}

export function pingKeys(): string[] {
  return Array.from({ length: PING_KEYS }, (_, n) => `tideway:ping:{${n}}`);
}
