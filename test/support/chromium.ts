import { type Browser, chromium } from 'playwright-core';
import { findChromium } from '../../scripts/lib/system-programs.mjs';

// No word to anybody but this machine.
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** This machine's Chromium. It ends with this process. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error('Chromium is missing: npm test installs it');
  return chromium.launch({ executablePath, args: ARGUMENTS });
}
