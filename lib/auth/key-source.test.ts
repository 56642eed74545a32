import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { KeySettingError } from './key-pem.ts';
import { keysFromPem, keysFromSecret } from './key-source.ts';
import { makeKeys } from './testing.ts';

const name = 'GATEWAY_JWT_PUBLIC_KEY';
const rsa = makeKeys('RS256');

function pemOf(type: 'rsa' | 'ec' | 'rsa-pss' | 'ed448', options: object = {}): string {
  const { publicKey } = generateKeyPairSync(type as 'rsa', options as { modulusLength: number });
  return publicKey.export({ type: 'spki', format: 'pem' }).toString();
}

describe('keysFromPem', () => {
  test.each(['RS256', 'ES256', 'EdDSA'] as const)('takes the algorithm from the key: %s', async (algorithm) => {
    const source = keysFromPem({ name, pem: makeKeys(algorithm).publicPem });
    expect(source.algorithms).toEqual([algorithm]);
    expect(await source.candidates({ alg: algorithm, kid: 'any' })).toHaveLength(1);
    expect(await source.candidates({ alg: 'HS256' })).toHaveLength(0);
  });

  test.each([
    ['with line breaks written out', rsa.publicPem.replaceAll('\n', '\\n')],
    ['in quotes', `"${rsa.publicPem.replaceAll('\n', '\\n')}"`],
    ['with CRLF', rsa.publicPem.replaceAll('\n', '\r\n')],
    ['with CRLF written out', rsa.publicPem.replaceAll('\n', '\\r\\n')],
    ['between blanks', `  ${rsa.publicPem}\n\n`],
  ])('takes PEM %s', (_, pem) => {
    expect(keysFromPem({ name, pem }).algorithms).toEqual(['RS256']);
  });

  test('takes PKCS #1', () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pem = publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
    expect(keysFromPem({ name, pem }).algorithms).toEqual(['RS256']);
  });

  test.each([
    ['nothing', '', 'is not a public key or certificate in PEM form'],
    ['other text', 'sup3rsecret', 'is not a public key or certificate in PEM form'],
    ['half a key', rsa.publicPem.slice(0, 200), 'is not a public key or certificate in PEM form'],
    ['a private key', rsa.privatePem, 'holds a private key; it needs the public one'],
    ['a small RSA key', pemOf('rsa', { modulusLength: 1024 }), 'is an RSA key of less than 2048 bits'],
    ['another curve', pemOf('ec', { namedCurve: 'P-384' }), 'is an EC key of another curve than P-256'],
    ['another type', pemOf('ed448'), 'is of a type that is not supported: use RSA, EC P-256 or Ed25519'],
  ])('refuses %s in one line that names the setting only', (_, pem, reason) => {
    const read = () => keysFromPem({ name, pem });
    expect(read).toThrow(KeySettingError);
    expect(read).toThrow(new KeySettingError(name, reason).message);
    try {
      read();
    } catch (error) {
      expect(String((error as Error).stack)).not.toContain('sup3rsecret');
      expect((error as Error).cause).toBeUndefined();
    }
  });
});

describe('keysFromSecret', () => {
  test('is for HS256 only', async () => {
    const source = keysFromSecret({ name: 'PUBLISH_JWT_SECRET', secret: 'secret' });
    expect(source.algorithms).toEqual(['HS256']);
    expect(await source.candidates({ alg: 'HS256' })).toHaveLength(1);
    expect(await source.candidates({ alg: 'RS256' })).toHaveLength(0);
  });

  test('refuses an empty secret', () => {
    expect(() => keysFromSecret({ name: 'PUBLISH_JWT_SECRET', secret: '' })).toThrow('PUBLISH_JWT_SECRET: is empty');
  });
});
