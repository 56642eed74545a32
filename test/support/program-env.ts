/** Where the processes that tests start keep what Node compiled: they run the same sources again and again. */
export const COMPILE_CACHE = 'TIDEWAY_TEST_COMPILE_CACHE';

/** The environment that every program of a test starts with. */
export function programEnv(): Record<string, string | undefined> {
  const folder = process.env[COMPILE_CACHE];
  return { PATH: process.env['PATH'], ...(folder !== undefined && { NODE_COMPILE_CACHE: folder }) };
}
