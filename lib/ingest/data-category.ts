/** What can be limited and counted, by the numbers that Sentry's services have for it. */
export const DATA_CATEGORIES = {
  default: 0,
  error: 1,
  transaction: 2,
  security: 3,
  /** In bytes. */
  attachment: 4,
  session: 5,
  profile: 6,
  replay: 7,
  monitor: 10,
  span: 12,
  feedback: 14,
  attachment_item: 22,
  log_item: 23,
} as const;

export type DataCategory = keyof typeof DATA_CATEGORIES;

export function isDataCategory(name: string): name is DataCategory {
  return Object.hasOwn(DATA_CATEGORIES, name);
}

/** Also by the names that settings have for it. Undefined: none that is known. */
export function categoryNamed(name: string): DataCategory | undefined {
  if (name === 'user_report_v2') return 'feedback';
  return isDataCategory(name) ? name : undefined;
}

const NAMES = new Map<number, DataCategory>(
  Object.entries(DATA_CATEGORIES).map(([name, number]) => [number, name as DataCategory]),
);

export function dataCategoryOf(number: number): DataCategory | undefined {
  return NAMES.get(number);
}
