/**
 * The first value of a parameter. Made for queries of a few parameters, of which few are asked for: nothing is made of the
 * others. What is no escape stands for itself.
 */
export function queryParameter(query: string, name: string): string | undefined {
  for (let from = 0; from < query.length; ) {
    const ampersand = query.indexOf('&', from);
    const end = ampersand < 0 ? query.length : ampersand;
    if (query.startsWith(name, from) && query[from + name.length] === '=') {
      return decode(query.slice(from + name.length + 1, end));
    }
    from = end + 1;
  }
  return undefined;
}

function decode(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
