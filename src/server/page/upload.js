import { api, ApiError, authorize, url } from './api.js';
import { memory, sleep } from './dom.js';

const slice = 16 << 20;
const nameOf = (file) => `${file.name}:${file.size}:${file.lastModified}`;

function remember(file, id) {
  const known = (memory.get('uploads') || []).filter(([name]) => name !== nameOf(file));
  memory.set('uploads', [[nameOf(file), id], ...known].slice(0, 20));
}

/* The upload of the same file from before, as far as it came. */
async function known(file) {
  const entry = (memory.get('uploads') || []).find(([name]) => name === nameOf(file));
  const upload = entry && (await api('GET', `v1/uploads/${entry[1]}`).catch(() => null));
  return upload?.size === file.size ? upload : null;
}

/* One request; the offset after it. XMLHttpRequest, for it says how much has been sent. */
function patch(id, offset, part, onSent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    request.open('PATCH', url(`v1/uploads/${id}`));
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.setRequestHeader('Upload-Offset', offset);
    request.upload.onprogress = (e) => onSent(offset + e.loaded);
    request.onload = () => {
      const now = request.getResponseHeader('Upload-Offset');
      if ((request.status === 204 || request.status === 409) && now !== null) resolve(Number(now));
      else reject(new ApiError(request.status, parse(request.responseText)));
    };
    request.onerror = () => reject(new TypeError('connection lost'));
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    request.onloadend = () => signal.removeEventListener('abort', stop);
    signal.addEventListener('abort', stop);
    request.send(part);
  });
}

function parse(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return undefined;
  }
}

const isTemporary = (e) => e instanceof TypeError || [401, 408, 429, 502, 503, 504].includes(e.status);

/* Sends the rest of `file`, through lost connections and restarts of the server. */
async function sendRest(file, upload, onSent, signal) {
  let offset = upload.received,
    wait = 0.5;
  while (offset < file.size) {
    try {
      offset = await patch(upload.id, offset, file.slice(offset, offset + slice), onSent, signal);
      wait = 0.5;
    } catch (e) {
      if (!isTemporary(e)) throw e;
      if (e.status === 401) await authorize();
      await sleep(wait);
      signal.throwIfAborted();
      wait = Math.min(2 * wait, 15);
      offset = (await api('GET', `v1/uploads/${upload.id}`).catch(() => ({ received: offset }))).received;
    }
    onSent(offset);
  }
}

/* Uploads a file, or the rest of one that was begun before. `onStart` is given the upload's ID,
 * `onSent` the number of bytes so far. */
export async function send(file, onStart, onSent, signal) {
  const upload =
    (await known(file)) ||
    (await api('POST', 'v1/uploads', { name: file.name, size: file.size, sha256: null }));
  remember(file, upload.id);
  onStart(upload.id);
  await sendRest(file, upload, onSent, signal);
  return upload.id;
}
