const FORM = /^[0-9a-f]{32}$/;

/** As the store has it. Undefined: no key can be called that. */
export function readPublicKey(text: string): string | undefined {
  const key = text.toLowerCase();
  return FORM.test(key) ? key : undefined;
}
