const FORM = /^[0-9a-f]{32}$/;
const OTHER_FORM = /^[0-9A-Fa-f]{32}$/;

/** As the store has it. Undefined: no key can be called that. */
export function readPublicKey(text: string): string | undefined {
  // Nearly all come in this form, and need no copy.
  if (FORM.test(text)) return text;
  return OTHER_FORM.test(text) ? text.toLowerCase() : undefined;
}
