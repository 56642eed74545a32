/** The environment that every program of a test starts with. What Node compiled is where vitest.config.ts says. */
export function programEnv(): Record<string, string | undefined> {
  const folder = process.env['NODE_COMPILE_CACHE'];
  return { PATH: process.env['PATH'], ...(folder !== undefined && { NODE_COMPILE_CACHE: folder }) };
}
