/** PostgreSQL takes every character but this one, and an application may send any. */
export function storableText(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\u{fffd}') : text;
}
