import { sleep } from './dom.js';

const root = new URL('.', document.baseURI);

export class ApiError extends Error {
  constructor(status, { code, message, hint } = {}) {
    super(message || `HTTP ${status}`);
    Object.assign(this, { status, code: code || 'internal', hint });
  }
}

let logIn = null; // shows the dialog; its promise is kept while it is open
let pending = null;

/* `ask` is called when the server wants a token; its promise ends when it has one. */
export function onUnauthorized(ask) {
  logIn = ask;
}

export function authorize() {
  pending ??= logIn().finally(() => {
    pending = null;
  });
  return pending;
}

export const url = (path) => new URL(path, root).href;

async function failure(response) {
  const body = await response.json().catch(() => ({}));
  return new ApiError(response.status, body.error);
}

/* Sends a request and returns the JSON of the answer, or null if that has none. Waits where the
 * server is busy, and for a token where it wants one. */
export async function api(method, path, body, options = {}) {
  for (;;) {
    const response = await fetch(url(path), {
      method,
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: options.signal,
    });
    if (response.status === 401 && path !== 'v1/session') {
      await authorize();
    } else if (response.status === 429 && options.patient) {
      await sleep(Number(response.headers.get('Retry-After')) || 2);
    } else if (!response.ok) {
      throw await failure(response);
    } else {
      return response.status === 204 ? null : response.json();
    }
  }
}
