/** Takes from the front as many as fit into `maxBytes` together, and one in any case. */
export function takeGroup<T extends { readonly bytes: number }>(waiting: T[], maxBytes: number): T[] {
  let bytes = 0;
  let count = 0;
  for (const each of waiting) {
    bytes += each.bytes;
    if (count > 0 && bytes > maxBytes) break;
    count++;
  }
  return waiting.splice(0, count);
}
