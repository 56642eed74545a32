/**
 * Every key that the config cache uses on Redis. A shard, and so a slot of a Cluster, is what public keys with the same
 * first digit share.
 *
 * | key | type | what |
 * |---|---|---|
 * | `tideway:config:{<shard>}:key:<public key>` | string | `<generation> <kind> <loaded at ms> <revision>`, a line break, and the encoded ProjectConfig; kinds are config, disabled, unknown; or `<generation> lease <lease>` |
 * | `tideway:config:{<shard>}:state` | hash | `generation`, `cursor` |
 * | `tideway:config:{<shard>}:mark:<process>` | string | the number of the last change that the process removed |
 */
export const CONFIG_SHARDS = [...'0123456789abcdef'];

export function configShardOf(publicKey: string): string {
  return publicKey.slice(0, 1);
}

export function configKey(publicKey: string): string {
  return `tideway:config:{${configShardOf(publicKey)}}:key:${publicKey}`;
}

export function configStateKey(shard: string): string {
  return `tideway:config:{${shard}}:state`;
}

export function configMarkKey(shard: string, processId: string): string {
  return `tideway:config:{${shard}}:mark:${processId}`;
}
