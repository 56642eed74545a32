// @ts-check
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder beside its place and moves it there whole, so that neither an interruption nor a second installation at the
 * same time leaves half of it.
 * @param {string} folder
 * @param {(unpacked: string) => Promise<void>} fill
 */
export async function installWhole(folder, fill) {
  mkdirSync(dirname(folder), { recursive: true });
  const unpacked = mkdtempSync(`${folder}-`);
  try {
    await fill(unpacked);
    try {
      renameSync(unpacked, folder);
    } catch (error) {
      // The other one was faster.
      if (!existsSync(folder)) throw error;
    }
  } finally {
    rmSync(unpacked, { recursive: true, force: true });
  }
}
