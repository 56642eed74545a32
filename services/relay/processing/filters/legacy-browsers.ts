import type { PlainFilters } from '../../processing.ts';
import { userAgentOf } from './event-parts.ts';
import type { Filter } from './filter.ts';

type Browser = 'ie' | 'edge' | 'opera' | 'opera_mini' | 'android' | 'chrome' | 'firefox' | 'safari';

/** The first that is found: browsers name those before them, too. The group is the major version. */
const BROWSERS: readonly (readonly [Browser, RegExp])[] = [
  ['opera_mini', /opera mini\/(\d{1,4})/i],
  // Old ones say Opera/9.80 and have the version at the end.
  ['opera', /opr\/(\d{1,4})|opera\/9\.80.{0,200}version\/(\d{1,4})|opera[ /](\d{1,4})/i],
  ['ie', /msie (\d{1,4})|trident\/.{0,100}rv:(\d{1,4})/i],
  ['edge', /edge?\/(\d{1,4})/i],
  ['firefox', /firefox\/(\d{1,4})/i],
  ['chrome', /(?:chrome|crios)\/(\d{1,4})/i],
  ['android', /android (\d{1,4}).{0,200}version\/\d/i],
  ['safari', /version\/(\d{1,4}).{0,100}safari\//i],
];

interface Rule {
  readonly browser: Browser;
  readonly from: number;
  /** Not this one any more. */
  readonly below: number;
}

const below = (browser: Browser, version: number): Rule => ({ browser, from: 0, below: version });
const only = (browser: Browser, version: number): Rule => ({ browser, from: version, below: version + 1 });

const RULES: Readonly<Record<string, readonly Rule[]>> = {
  ie_pre_9: [below('ie', 9)],
  ie9: [only('ie', 9)],
  ie10: [only('ie', 10)],
  ie11: [only('ie', 11)],
  opera_pre_15: [below('opera', 15)],
  opera_mini_pre_8: [below('opera_mini', 8)],
  android_pre_4: [below('android', 4)],
  safari_pre_6: [below('safari', 6)],
  edge_pre_79: [below('edge', 79)],
  ie: [below('ie', 12)],
  safari: [below('safari', 16)],
  firefox: [below('firefox', 111)],
  chrome: [below('chrome', 111)],
  edge: [below('edge', 111)],
  opera: [below('opera', 100)],
  opera_mini: [below('opera_mini', 35)],
  android: [below('android', 4)],
  default: [below('ie', 9), below('opera', 15), below('opera_mini', 8), below('android', 4), below('safari', 6)],
};

/** By the browser's name and major version in the User-Agent. Ids that aren't known filter nothing. */
export function legacyBrowsers({ legacyBrowsers: ids }: PlainFilters): Filter | undefined {
  const rules = ids.flatMap((id) => (Object.hasOwn(RULES, id) ? RULES[id]! : []));
  if (rules.length === 0) return undefined;
  return (event, sender) => {
    const found = browserOf(userAgentOf(event, sender));
    if (found === undefined) return false;
    const [browser, version] = found;
    return rules.some((rule) => rule.browser === browser && version >= rule.from && version < rule.below);
  };
}

function browserOf(agent: string | undefined): readonly [Browser, number] | undefined {
  if (agent === undefined) return undefined;
  for (const [browser, pattern] of BROWSERS) {
    const version = pattern
      .exec(agent)
      ?.slice(1)
      .find((group) => group !== undefined);
    if (version !== undefined) return [browser, Number(version)];
  }
  return undefined;
}
