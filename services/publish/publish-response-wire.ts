/** What of an acknowledgement is written. */
interface Acknowledged {
  readonly id: string;
  readonly duplicate: boolean;
}

const ID = 0x0a;
const DUPLICATE = 0x10;

/** How long an encoded PublishResponse is. */
export function publishResponseLength({ id, duplicate }: Acknowledged): number {
  return 2 + id.length + (duplicate ? 2 : 0);
}

/** Writes a PublishResponse as the generated code would, and answers where it ends. */
export function writePublishResponse(out: Buffer, start: number, { id, duplicate }: Acknowledged): number {
  let at = start;
  out[at++] = ID;
  out[at++] = id.length;
  at += out.write(id, at, 'latin1');
  if (duplicate) {
    out[at++] = DUPLICATE;
    out[at++] = 1;
  }
  return at;
}
