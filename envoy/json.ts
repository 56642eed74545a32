/** What a configuration file is made of. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export type JsonObject = { readonly [key: string]: Json };

/** Envoy wants every extension's configuration to name its type. */
export function typed(message: string, fields: JsonObject = {}): JsonObject {
  return { '@type': `type.googleapis.com/${message}`, ...fields };
}

/** Durations in Envoy's files are strings of seconds. */
export function seconds(value: number): string {
  return `${value}s`;
}
