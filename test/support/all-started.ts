/** When one fails, the others have started too, and can be stopped: nothing starts after a caller has cleaned up. */
export async function allStarted<T extends readonly Promise<unknown>[] | []>(
  starting: T,
): Promise<{ -readonly [at in keyof T]: Awaited<T[at]> }> {
  await Promise.allSettled(starting);
  return Promise.all(starting) as Promise<{ -readonly [at in keyof T]: Awaited<T[at]> }>;
}
