import { generateKeyPairSync } from 'node:crypto';
import { type JWTPayload, SignJWT } from 'jose';

/** Settings as an operator of Conduit has them, and tokens as Conduit's users sign them. */
export interface ConduitEnv {
  readonly env: Readonly<Record<string, string>>;
  /** What GATEWAY_JWT_PRIVATE_KEY would be; Conduit's own services have no such setting. */
  readonly privateKeyPem: string;
  /** HS256. Undefined removes a claim. */
  publishToken(claims?: Claims): Promise<string>;
  /** RS256. */
  streamToken(claims: Claims): Promise<string>;
}

type Claims = Readonly<Record<string, unknown>>;

export function makeConduitEnv(): ConduitEnv {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const secret = 'a secret that a publisher and the service share';
  const expiry = () => Math.floor(Date.now() / 1000) + 300;
  return {
    env: {
      GATEWAY_JWT_PUBLIC_KEY: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      GATEWAY_JWT_ISSUER: 'app.example',
      GATEWAY_JWT_AUDIENCE: 'conduit',
      PUBLISH_JWT_SECRET: secret,
      PUBLISH_JWT_ISSUER: 'backend.example',
      PUBLISH_JWT_AUDIENCE: 'conduit-publish',
    },
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publishToken: (claims = {}) =>
      sign(
        { sub: 'backend', iss: 'backend.example', aud: 'conduit-publish', exp: expiry(), ...claims },
        { alg: 'HS256' },
        Buffer.from(secret),
      ),
    streamToken: (claims) =>
      sign({ iss: 'app.example', aud: 'conduit', exp: expiry(), ...claims }, { alg: 'RS256' }, privateKey),
  };
}

function sign(claims: Claims, header: { alg: string }, key: Parameters<SignJWT['sign']>[0]): Promise<string> {
  const payload: JWTPayload = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
  return new SignJWT(payload).setProtectedHeader({ ...header, typ: 'JWT' }).sign(key);
}
