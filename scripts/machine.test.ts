import { expect, test } from 'vitest';
import { requireMachine } from './lib/machine.mjs';
import { portFrom } from './lib/ports.mjs';

test('Node from 20 on, on Linux and macOS', () => {
  expect(() => requireMachine({ version: '20.0.0', platform: 'linux' })).not.toThrow();
  expect(() => requireMachine({ version: '26.1.0', platform: 'darwin' })).not.toThrow();
  expect(() => requireMachine({ version: '18.20.4', platform: 'linux' })).toThrow('Node 20 or newer');
  expect(() => requireMachine({ version: '24.0.0', platform: 'win32' })).toThrow('WSL');
});

test.each([
  [undefined, 8080],
  ['', 8080],
  ['1', 1],
  ['65535', 65535],
])('EDGE_PORT=%s is %d', (text, port) => {
  expect(portFrom({ EDGE_PORT: text }, 'EDGE_PORT', 8080)).toBe(port);
});

test.each(['0', '65536', '-1', '80a', '8e3', ' 80'])('EDGE_PORT=%s is refused', (text) => {
  expect(() => portFrom({ EDGE_PORT: text }, 'EDGE_PORT', 8080)).toThrow('EDGE_PORT must be a port');
});
