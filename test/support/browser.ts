/** What a browser answers a test with. */
export interface Page {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const MAX_REDIRECTS = 15;

/**
 * As much of a browser as signing in needs: cookies by host (ports share them, as they do in browsers), redirects, forms,
 * and the headers that say which page a request is of.
 */
export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();
  /** Every URL that was asked for, in order. */
  readonly visited: string[] = [];

  /** As if its user had typed the address, or followed a link from another site. */
  async visit(url: string, site: 'none' | 'cross-site' = 'none'): Promise<Page> {
    let page = await this.#ask(url, { headers: { 'sec-fetch-site': site } });
    for (let i = 0; i < MAX_REDIRECTS; i++) {
      const location = page.headers.get('location');
      if (page.status < 300 || page.status > 399 || location === null) return page;
      page = await this.#ask(new URL(location, page.url).href, { headers: { 'sec-fetch-site': 'cross-site' } });
    }
    throw new Error(`more than ${MAX_REDIRECTS} redirects: ${this.visited.join(' ')}`);
  }

  /** Sends the first form of a page, and follows what comes. */
  async submit({ text, url }: Page, fields: Readonly<Record<string, string>>): Promise<Page> {
    const action = /<form[^>]* action="([^"]*)"/.exec(text)?.[1];
    if (action === undefined) throw new Error(`no form at ${url}: ${text}`);
    const body = new URLSearchParams(fields);
    for (const [, name = '', value = ''] of text.matchAll(
      /<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"/g,
    )) {
      body.set(name, value);
    }
    const answer = await this.#ask(new URL(action, url).href, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' },
      body: body.toString(),
    });
    const location = answer.headers.get('location');
    return location === null ? answer : this.visit(new URL(location, answer.url).href, 'cross-site');
  }

  /** What a page of the same origin sends, or one of another site: then as browsers say it. */
  send(url: string, question: Question = {}, pageOrigin = new URL(url).origin): Promise<Page> {
    const isOwn = pageOrigin === new URL(url).origin;
    return this.#ask(url, {
      ...question,
      headers: { 'sec-fetch-site': isOwn ? 'same-origin' : 'cross-site', origin: pageOrigin, ...question.headers },
    });
  }

  cookie(url: string, name: string): string | undefined {
    return this.#jar(url).get(name);
  }

  setCookie(url: string, name: string, value: string): void {
    this.#jar(url).set(name, value);
  }

  async #ask(url: string, { method = 'GET', headers = {}, body }: Question): Promise<Page> {
    this.visited.push(url);
    const jar = this.#jar(url);
    const cookie = [...jar].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(cookie === '' ? {} : { cookie }) },
      redirect: 'manual',
      ...(body === undefined ? {} : { body }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [name = '', value = ''] = (line.split(';')[0] ?? '').split(/=(.*)/s);
      if (/;\s*max-age=0/i.test(line) || /expires=thu, 01 jan 1970/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    return { url, status: response.status, headers: response.headers, text: await response.text() };
  }

  #jar(url: string): Map<string, string> {
    const host = new URL(url).hostname;
    let jar = this.#cookies.get(host);
    if (jar === undefined) {
      jar = new Map();
      this.#cookies.set(host, jar);
    }
    return jar;
  }
}
