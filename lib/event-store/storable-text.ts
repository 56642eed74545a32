/**
 * PostgreSQL takes every character but this one, and an application may send any. Half a character becomes the same in
 * every database: two texts that differ in nothing else are one there, and must be one here.
 */
export function storableText(text: string): string {
  return (text.includes('\0') ? text.replaceAll('\0', '\u{fffd}') : text).toWellFormed();
}
