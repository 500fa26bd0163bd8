/* A growing HLS playlist of fragmented MP4, played through Media Source Extensions, or by the
 * browser itself where it has none. */

import { sleep } from './dom.js';

const hex = (byte) => byte.toString(16).padStart(2, '0');

/* Where the box of this type, four letters, has its contents; -1: nowhere. */
function boxAt(bytes, type) {
  const wanted = [...type].map((c) => c.charCodeAt(0));
  for (let i = 4; i + 4 < bytes.length; i++)
    if (wanted.every((code, k) => bytes[i + k] === code)) return i + 4;
  return -1;
}

/* The MIME type with the codecs of an initialization segment. */
function mimeOf(bytes) {
  const codecs = [];
  const avc = boxAt(bytes, 'avcC');
  if (avc > 0) codecs.push(`avc1.${[1, 2, 3].map((k) => hex(bytes[avc + k])).join('')}`);
  if (boxAt(bytes, 'mp4a') > 0) codecs.push('mp4a.40.2');
  for (const [box, name] of [
    ['av1C', 'av01.0.08M.08'],
    ['vpcC', 'vp09.00.40.08'],
    ['Opus', 'opus'],
    ['fLaC', 'flac'],
  ])
    if (boxAt(bytes, box) > 0) codecs.push(name);
  return `video/mp4; codecs="${codecs.join(',')}"`;
}

function parse(text, playlist) {
  const files = [];
  let map = null,
    isComplete = false;
  for (const line of text.split('\n').map((each) => each.trim())) {
    const uri = /^#EXT-X-MAP:.*URI="([^"]+)"/.exec(line);
    if (uri) map = new URL(uri[1], playlist).href;
    else if (line === '#EXT-X-ENDLIST') isComplete = true;
    else if (line && !line.startsWith('#')) files.push(new URL(line, playlist).href);
  }
  return { map, files, isComplete };
}

async function load(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response;
}

function append(buffer, bytes) {
  return new Promise((resolve, reject) => {
    buffer.addEventListener('updateend', resolve, { once: true });
    buffer.addEventListener('error', () => reject(new Error('the segment cannot be played')), { once: true });
    buffer.appendBuffer(bytes);
  });
}

async function feed(media, playlist, signal) {
  let buffer = null,
    next = 0;
  for (;;) {
    const list = await load(playlist, signal)
      .then((r) => r.text())
      .then(
        (text) => parse(text, playlist),
        () => null,
      );
    signal.throwIfAborted();
    if (list?.map && !buffer) {
      const head = await load(list.map, signal).then((r) => r.arrayBuffer());
      const mime = mimeOf(new Uint8Array(head));
      if (!MediaSource.isTypeSupported(mime)) throw new Error(mime);
      buffer = media.addSourceBuffer(mime);
      await append(buffer, head);
    }
    for (; buffer && next < list.files.length; next++)
      await append(buffer, await load(list.files[next], signal).then((r) => r.arrayBuffer()));
    if (list?.isComplete) break;
    await sleep(2);
  }
  if (media.readyState === 'open') media.endOfStream();
}

/* Plays `playlist` in `video` until `signal`; `failed` is called if the browser cannot. */
export function playLive(video, playlist, signal, failed) {
  if (!window.MediaSource) {
    video.src = playlist;
    video.addEventListener('error', failed, { once: true });
    return;
  }
  const media = new MediaSource();
  const address = URL.createObjectURL(media);
  signal.addEventListener('abort', () => URL.revokeObjectURL(address));
  video.src = address;
  media.addEventListener(
    'sourceopen',
    () => {
      feed(media, playlist, signal).catch((e) => signal.aborted || failed(e));
    },
    { once: true },
  );
}
