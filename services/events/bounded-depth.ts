import type { JsonObject, JsonValue } from '@bufbuild/protobuf';

/**
 * What protobuf readers can read with their usual limit of 100 nested messages, of which a level of a Struct takes three.
 * Envoy's transcoder is one of them.
 */
const MAX_LEVELS = 30;

/** The same object; what is nested deeper than readers of a Struct can follow is its JSON, as a string. */
export function boundedDepth(body: JsonObject): JsonObject {
  return isWithin(body, MAX_LEVELS) ? body : (cut(body, MAX_LEVELS) as JsonObject);
}

function isWithin(value: JsonValue, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isWithin(inner, levels - 1));
}

function cut(value: JsonValue, levels: number): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  if (levels === 0) return JSON.stringify(value);
  if (Array.isArray(value)) return value.map((inner) => cut(inner, levels - 1));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, cut(inner, levels - 1)]));
}
