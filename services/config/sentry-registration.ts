import { LRUCache } from 'lru-cache';
import { type HttpRoute, sendJson } from '#lib/server/http-route.ts';
import type { Challenges } from './relay-challenge.ts';
import type { Relays, SigningRelay } from './relays.ts';
import { requireRelayId, SentryRefusal, sentryPath, signedRoute } from './sentry-http.ts';

/** Ids that relays have registered with here: for whoever asks whose they are. */
const MAX_REGISTERED = 1_000;
const MAX_ASKED = 1_000;

/**
 * How a Sentry relay introduces itself: it asks for a challenge, sends it back signed, and does so again every ten
 * minutes. Whoever's key is in the settings may; everybody else is told to stop. It gives no rights beyond those of the
 * key, so nothing depends on which process a relay has registered with.
 */
export function registrationRoutes(relays: Relays, challenges: Challenges): HttpRoute[] {
  const registered = new LRUCache<string, SigningRelay>({ max: MAX_REGISTERED });
  return [
    signedRoute('api/0/relays/register/challenge', (signed) => {
      const { relay_id, public_key } = signed.json();
      const relayId = requireRelayId(relay_id);
      const relay = requireKnown(relays, public_key);
      signed.requireSignatureOf(relay);
      return { relay_id: relayId, token: challenges.make({ relayId, publicKey: relay.publicKey }, Date.now()) };
    }),
    signedRoute('api/0/relays/register/response', (signed) => {
      const { relay_id, token } = signed.json();
      const relayId = requireRelayId(relay_id);
      const challenge = typeof token === 'string' ? challenges.read(token, Date.now()) : undefined;
      if (challenge?.relayId !== relayId) throw new SentryRefusal(401, 'unknown or expired challenge');
      const relay = requireKnown(relays, challenge.publicKey);
      signed.requireSignatureOf(relay);
      registered.set(relayId, relay);
      return { relay_id: relayId };
    }),
    signedRoute('api/0/relays/publickeys', (signed) => {
      signed.requireRelay(relays);
      const { relay_ids: asked } = signed.json();
      if (!Array.isArray(asked) || asked.length > MAX_ASKED) {
        throw new SentryRefusal(400, `relay_ids must be a list of at most ${MAX_ASKED}`);
      }
      const found = asked
        .filter((id) => typeof id === 'string')
        .map((id) => [id, registered.get(id.toLowerCase())] as const);
      return {
        public_keys: Object.fromEntries(found.map(([id, relay]) => [id, relay?.publicKey ?? null])),
        relays: Object.fromEntries(
          found.map(([id, relay]) => [id, relay ? { publicKey: relay.publicKey, internal: relay.isTrusted } : null]),
        ),
      };
    }),
    {
      methods: ['GET', 'HEAD'],
      path: sentryPath('api/0/relays/live'),
      cors: false,
      handle: ({ response }) => sendJson(response, 200, { is_healthy: true }),
    },
  ];
}

/** @throws SentryRefusal */
function requireKnown(relays: Relays, publicKey: unknown): SigningRelay {
  if (typeof publicKey !== 'string') throw new SentryRefusal(400, 'public_key must be a string');
  const relay = relays.findKey(publicKey);
  if (relay === undefined) throw new SentryRefusal(403, 'this relay is not known here', { stop: true });
  return relay;
}
