import type { JsonObject } from '../json.ts';
import type { Origin } from '../normalize/draft.ts';
import { userAgentOf } from './event-parts.ts';

/** Nothing here repeats: it takes as long as the text is. */
const CRAWLERS =
  /googlebot|google-inspectiontool|mediapartners-google|adsbot-google|apis-google|feedfetcher-google|bingbot|bingpreview|msnbot|yandex(?:bot|images|mobilebot|accessibilitybot|metrika)|baiduspider|duckduckbot|slurp|sogou|exabot|facebookexternalhit|facebot|meta-external(?:agent|fetcher)|ia_archiver|applebot|ahrefsbot|semrushbot|mj12bot|dotbot|petalbot|bytespider|gptbot|oai-searchbot|claudebot|anthropic-ai|perplexitybot|ccbot|amazonbot|twitterbot|linkedinbot|pinterestbot|discordbot|telegrambot|whatsapp\/|slackbot|embedly|seznambot|chrome-lighthouse|pingdom|uptimerobot|site24x7|calypso appcrawler|cincraw|gomezagent|cloudflare-healthchecks|\bbots?\b|\bspiders?\b|\bcrawlers?\b|[a-z]bot\/\d/i;

/** They act for somebody, or were asked to come. */
const WANTED = /slackbot 1\.\d|sentryuptimebot|chatgpt-user/i;

export function webCrawlers(event: JsonObject, sender: Origin['sender']): boolean {
  const agent = userAgentOf(event, sender);
  return agent !== undefined && CRAWLERS.test(agent) && !WANTED.test(agent);
}
