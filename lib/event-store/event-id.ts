/** Ids are kept as 16 bytes: half the size in every index, and one order whatever the database's collation. */
export function bytesOfEventId(id: string): Buffer {
  return Buffer.from(id, 'hex');
}

export function eventIdOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** What says which event it is, among all projects'. */
export function eventKey(projectId: bigint, eventId: string): string {
  return `${projectId}/${eventId}`;
}
