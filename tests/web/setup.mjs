// A server with a folder of its own, drawn speakers, and a browser whose console must stay silent.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const patience = 120_000; // ms, for what a job on a busy machine may take

export const folder = mkdtempSync(join(tmpdir(), 'latentsync-web-'));

// A speaker of 256 x 256 and another sentence, 3 s each, with espeak-ng or a recording of it.
export function drawSpeaker() {
  const puppet = join(root, 'build/tools/puppet');
  const draw = (name, recording, options) => {
    const out = join(folder, name),
      sound = join(root, 'tools/puppet/recordings', recording);
    execFileSync(
      puppet,
      [...options, '--seed', '50009', '--speech', `${sound}.wav`, '--phones', `${sound}.txt`, out],
      { stdio: 'ignore' },
    );
    return out;
  };
  const speaker = draw('speaker', 'fox', ['--size', '256']),
    speech = draw('speech', 'morning', ['--speech-only']);
  return { video: join(speaker, 'face.mp4'), speech: join(speech, 'speech.wav') };
}

export class Server {
  constructor(name, options = []) {
    this.data = join(folder, name);
    this.options = options;
    this.listen = '127.0.0.1:0';
  }

  async start() {
    const args = [
      'serve',
      '--listen',
      this.listen,
      '--data',
      this.data,
      '--models',
      join(root, 'models/mini'),
      ...this.options,
    ];
    this.process = spawn(join(root, 'build/latentsync'), args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, LS_CUDA_LIBRARY: 'none', OMP_WAIT_POLICY: 'passive' },
    });
    this.ended = new Promise((resolve) => this.process.once('exit', resolve));
    const ready = new Promise((resolve) => {
      let text = '';
      this.process.stdout.on('data', (part) => {
        text += part;
        const url = /http:\/\/\S+/.exec(text);
        if (url) resolve(url[0].replace(/\/?$/, '/'));
      });
    });
    this.url = await Promise.race([
      ready,
      this.ended.then((code) => {
        throw new Error(`the server ended with ${code}`);
      }),
    ]);
    this.listen = new URL(this.url).host; // a restart has the same address
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    await this.ended;
  }

  // Its processes that run jobs.
  jobs() {
    const isJob = (pid) => {
      try {
        const parent = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ')[1];
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1];
        return Number(parent) === this.process.pid && /^(sync|resume)$/.test(command);
      } catch {
        return false; // it has ended
      }
    };
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isJob(name)).map(Number);
  }

  // Stops every job where it begins, so that it runs for as long as a test looks at it; what is
  // returned lets them go on.
  hold() {
    const held = new Set();
    const look = () => {
      for (const pid of this.jobs())
        if (!held.has(pid)) {
          process.kill(pid, 'SIGSTOP');
          held.add(pid);
        }
    };
    look();
    const timer = setInterval(look, 5);
    this.release = () => {
      clearInterval(timer);
      for (const pid of this.jobs()) process.kill(pid, 'SIGCONT');
    };
    return this.release;
  }

  async upload(path) {
    const bytes = readFileSync(path);
    const send = (address, method, body, headers) =>
      fetch(new URL(address, this.url), { method, body, headers });
    const made = await send(
      'v1/uploads',
      'POST',
      JSON.stringify({ name: path.split('/').pop(), size: bytes.length }),
      { 'Content-Type': 'application/json' },
    );
    const { id } = await made.json();
    await send(`v1/uploads/${id}`, 'PATCH', bytes, {
      'Content-Type': 'application/octet-stream',
      'Upload-Offset': '0',
    });
    return id;
  }

  async makeJob(video, audio, options) {
    const answer = await fetch(new URL('v1/jobs', this.url), {
      method: 'POST',
      body: JSON.stringify({ video: await this.upload(video), audio: await this.upload(audio), options }),
      headers: { 'Content-Type': 'application/json' },
    });
    assert.equal(answer.status, 202);
    return (await answer.json()).id;
  }
}

// What `condition` gives once that is true.
export async function until(condition) {
  for (const end = Date.now() + patience; ; ) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `${condition} does not become true`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// `seconds` of a recording, over and over.
export function prolong(path, seconds) {
  const out = join(folder, `${seconds} s.wav`);
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-stream_loop', '-1', '-i', path, '-t', String(seconds), out]);
  return out;
}

const executables = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export function openBrowser() {
  const executablePath = process.env.CHROMIUM || executables.find(existsSync);
  return chromium.launch({
    executablePath,
    timeout: patience,
    args: [
      '--no-sandbox',
      '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream',
      '--autoplay-policy=no-user-gesture-required',
    ],
  });
}

// A page in a profile of its own. Its `messages` are all that the console and failing scripts said.
export async function openPage(browser, server, { width = 1024, locale = 'en-US', ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    locale,
    acceptDownloads: true,
    ...options,
  });
  const page = await context.newPage();
  page.messages = [];
  page.setDefaultTimeout(patience);
  page.on('console', (m) => page.messages.push(`${m.type()}: ${m.text()}`));
  page.on('pageerror', (e) => page.messages.push(e.stack));
  await page.goto(server.url);
  await page.waitForFunction(() => document.querySelector('footer').textContent);
  return page;
}

export async function close(page) {
  assert.deepEqual(page.messages, []);
  await page.context().close();
}

export async function checkAccess(page) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const found = await page.evaluate(
      `${axe};axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
    );
    const broken = found.violations.map(
      (v) => `${colorScheme}: ${v.id}: ${v.nodes.map((n) => n.target).join(', ')}`,
    );
    assert.deepEqual(broken, []);
  }
}

// The console cannot be kept from showing the failed requests of a server that is away.
export function expectMessages(page, pattern) {
  page.messages = page.messages.filter((text) => !pattern.test(text));
}

export async function checkWidth(page) {
  const [needed, has] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needed <= has, `${needed} pixels wide in a window of ${has}`);
}

// Drops files on an element, as from the desktop.
export async function drop(page, selector, ...files) {
  const parts = files.map((path) => ({
    name: path.split('/').pop(),
    base64: readFileSync(path).toString('base64'),
  }));
  const data = await page.evaluateHandle(async (list) => {
    const transfer = new DataTransfer();
    for (const { name, base64 } of list) {
      const blob = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      transfer.items.add(
        new File([blob], name, { type: name.endsWith('.wav') ? 'audio/wav' : 'video/mp4', lastModified: 1 }),
      );
    }
    return transfer;
  }, parts);
  await page.dispatchEvent(selector, 'drop', { dataTransfer: data });
}

export const state = (page, wanted, n = 0) =>
  page.locator('.job').nth(n).locator(`.state[data-state="${wanted}"]`).waitFor();

// What ffprobe says of a file: codecs and the number of frames.
export function probe(path) {
  const out = execFileSync('ffprobe', [
    '-v',
    'error',
    '-count_frames',
    '-show_entries',
    'stream=codec_type,nb_read_frames',
    '-of',
    'json',
    path,
  ]);
  return JSON.parse(out).streams;
}

export function removeFolder() {
  rmSync(folder, { recursive: true, force: true });
}
