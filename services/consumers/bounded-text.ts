/** The beginning of a text, up to so many UTF-16 units, not ending in half a character. */
export function boundedText(text: string, maxLength: number): string {
  return (text.length > maxLength ? text.slice(0, maxLength) : text).toWellFormed();
}
