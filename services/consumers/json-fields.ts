export type JsonMap = Readonly<Record<string, unknown>>;

const NONE: JsonMap = {};

/** Fields of JSON that anybody may have written: what is of another kind than it should be is not there. */
export function mapOf(value: unknown): JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonMap) : NONE;
}

/** A list, also where it is one's `values`. */
export function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  const { values } = mapOf(value);
  return Array.isArray(values) ? values : [];
}

/** Text, and numbers as text. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' ? String(value) : '';
}

export function fieldOf(map: JsonMap, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, name) => mapOf(inner)[name], map);
}

export function firstLine(text: string): string {
  return text.trimStart().split(/[\r\n]/, 1)[0] ?? '';
}
