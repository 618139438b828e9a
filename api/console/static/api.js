// The open API as this page uses it.

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || body?.title || `the server answered ${status}`);
    this.status = status;
    this.code = body?.code;
  }
}

/** Settings of the dev server; refused to pages from elsewhere. */
export async function loadSettings() {
  return answer(await fetch('/live/config.json', { cache: 'no-store' }));
}

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  push(body) {
    return this.#call('POST', '/v1/push', body);
  }

  status(id) {
    return this.#call('GET', `/v1/push/${encodeURIComponent(id)}`);
  }

  client(id, realm) {
    const query = realm ? `?realm=${encodeURIComponent(realm)}` : '';
    return this.#call('GET', `/v1/clients/${encodeURIComponent(id)}${query}`);
  }

  async #call(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#key}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const signal = AbortSignal.timeout(10_000);
    return answer(await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) }));
  }
}

async function answer(response) {
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, body);
  return body;
}
