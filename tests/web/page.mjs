// The page of `latentsync serve` in Chromium, with a real server and the built-in model.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { strings } from '../../src/server/page/strings.js';
import {
  checkAccess,
  checkWidth,
  close,
  drawSpeaker,
  drop,
  expectMessages,
  folder,
  openBrowser,
  openPage,
  patience,
  probe,
  prolong,
  removeFolder,
  Server,
  state,
  until,
} from './setup.mjs';

let browser, files;
const server = new Server('data', ['--workers', '2']);

before(async () => {
  files = drawSpeaker();
  browser = await openBrowser();
  await server.start();
});

afterEach(() => server.release?.()); // where a test failed before it did so

after(async () => {
  await browser?.close();
  await server.stop();
  removeFolder();
});

// Both files dropped, their upload and probe awaited.
async function fill(page) {
  await drop(page, '#composer', files.video, files.speech);
  await page.locator('#make:enabled').waitFor();
}

// In the page: the speech is uploaded and examined; the length of a browser's recording is unknown.
const speechIsRead = () =>
  /^(\d.* s · )?[\d.]+ k?B$/.test(document.querySelectorAll('[data-part=facts]')[1].textContent);

async function make(page, quality = 'fast') {
  await page.locator(`#quality input[value=${quality}]`).check();
  await page.locator('#make').click();
  await page.locator('.job:first-child:focus').waitFor();
}

test('every string exists in every language', () => {
  const keys = (table, at = '') =>
    Object.entries(table).flatMap(([key, value]) =>
      typeof value === 'object' ? keys(value, `${at}${key}.`) : [`${at}${key}`],
    );
  const values = (text) => (text.match(/\{\w+\}/g) || []).sort().join();
  const find = (table, key) => key.split('.').reduce((part, name) => part?.[name], table);
  const english = keys(strings.en).filter((key) => !key.startsWith('units.'));
  assert.deepEqual(
    keys(strings.zh)
      .filter((key) => !key.startsWith('units.'))
      .sort(),
    english.sort(),
  );
  for (const key of english) assert.equal(values(find(strings.zh, key)), values(find(strings.en, key)), key);
});

test('empty: accessible, nothing on the console, 320 pixels', async () => {
  const page = await openPage(browser, server, { width: 320 });
  await page.locator('#jobs-empty').waitFor();
  assert.ok(await page.locator('#make').isDisabled());
  await checkWidth(page);
  await checkAccess(page);
  await page.locator('#consent-ok').click();
  await page.reload();
  await page.locator('#about:not(:empty)').waitFor();
  assert.ok(await page.locator('#consent').isHidden());
  await close(page);
});

test('from drop to download, reloaded on the way', async () => {
  const page = await openPage(browser, server);
  await fill(page);
  assert.match(await page.locator('.source').first().innerText(), /256 × 256/);
  await page.locator('.face img').first().waitFor();
  assert.ok(
    await page
      .locator('.face img')
      .first()
      .evaluate((e) => e.decode().then(() => e.naturalWidth > 0)),
  );
  await page.locator('.tile:has(input[value=best]) b', { hasText: '≈' }).waitFor();
  await checkAccess(page);
  const release = server.hold();
  await make(page);
  await state(page, 'running');
  await checkAccess(page);
  await page.reload();
  await page.locator('#make:enabled').waitFor(); // the files are still chosen
  await state(page, 'running');
  release();
  await state(page, 'done');
  await page.locator('.job:first-child .thumb img').waitFor();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.locator('.job:first-child [data-part=download]').click(),
  ]);
  assert.match(download.suggestedFilename(), /^face.*\.mp4$/);
  const path = join(folder, 'downloaded.mp4');
  await download.saveAs(path);
  const streams = probe(path);
  assert.deepEqual(streams.map((s) => s.codec_type).sort(), ['audio', 'video']);
  const frames = Number(streams.find((s) => s.codec_type === 'video').nb_read_frames);
  assert.match(await page.locator('.job:first-child .figures').innerText(), new RegExp(`\\b${frames}\\b`));
  await close(page);
});

test('the player keeps both videos in step', async () => {
  const page = await openPage(browser, server);
  await page.locator('.job:first-child [data-part=watch]').click();
  await page.locator('.stage.wiping .before video').waitFor();
  await page.waitForFunction(() => document.querySelector('.after video').currentTime > 0.3);
  await page.locator('.player [data-part=play]').click();
  await page.waitForFunction(() => document.querySelector('.after video').paused);
  await page.waitForFunction(() => {
    const [old, made] = ['.before video', '.after video'].map((s) => document.querySelector(s));
    return Math.abs(old.currentTime - made.currentTime) < 0.03;
  });
  const wipe = page.locator('.wipe');
  await wipe.focus();
  const at = Number(await wipe.inputValue());
  for (let i = 0; i < 10; i++) await page.keyboard.press('ArrowRight');
  assert.equal(Number(await wipe.inputValue()), at + 5);
  await page.locator('.player select').selectOption('beside');
  const [left, right] = await Promise.all(['.before', '.after'].map((s) => page.locator(s).boundingBox()));
  assert.ok(left.x + left.width <= right.x + 1);
  await checkAccess(page);
  await page.setViewportSize({ width: 320, height: 700 });
  await checkWidth(page);
  await close(page);
});

test('a job is watched while it is made', async () => {
  const options = { resolution: 64, steps: 2, preset: 'ultrafast' };
  const id = await server.makeJob(files.video, prolong(files.speech, 31), options);
  const get = (path) => fetch(new URL(`v1/jobs/${id}${path}`, server.url));
  await until(async () => (await (await get('')).json()).progress?.frame > 0 && (await get('/stream.m3u8')).ok);
  const release = server.hold();
  const playlist = await (await get('/stream.m3u8')).text();
  const made = [...playlist.matchAll(/^#EXTINF:([\d.]+)/gm)].reduce((sum, [, seconds]) => sum + Number(seconds), 0);
  assert.ok(made > 1 && !/ENDLIST/.test(playlist), playlist);
  const growing = () => {
    const video = document.querySelector('.after video');
    return video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0;
  };
  const page = await openPage(browser, server);
  await page.locator('.job:first-child [data-part=watch]').click();
  await page.waitForFunction(() => {
    const video = document.querySelector('.after video');
    return video && !video.paused && video.currentTime > 0.3;
  });
  const first = await until(() => page.evaluate(growing).then((end) => end > made - 0.2 && end));
  assert.ok(first < made + 0.2, `${first} of ${made} s`);
  assert.ok(await page.evaluate(() => document.querySelector('.after video').videoWidth === 256));
  await state(page, 'running');
  release();
  await page.waitForFunction(
    (end) => {
      const { buffered } = document.querySelector('.after video');
      return buffered.end(buffered.length - 1) > end + 1;
    },
    first,
  );
  await state(page, 'done');
  await page.waitForFunction(() => Math.abs(document.querySelector('.after video').duration - 31) < 0.2);
  await close(page);
});

test('cancel, resume, and others meanwhile', async () => {
  const page = await openPage(browser, server);
  await fill(page);
  let release = server.hold();
  await make(page, 'best');
  await state(page, 'running');
  await Promise.all([
    page.waitForResponse(/\/cancel$/),
    page.locator('.job:first-child [data-part=cancel]').click(),
  ]);
  release();
  await state(page, 'canceled');
  release = server.hold();
  await page.locator('.job:first-child [data-part=resume]').click();
  await state(page, 'running');
  await make(page);
  await page.waitForFunction(() => document.querySelectorAll('.state[data-state=running]').length === 2);
  release();
  await page.setViewportSize({ width: 320, height: 700 });
  await checkWidth(page);
  await state(page, 'done', 0);
  await state(page, 'done', 1);
  await close(page);
});

test('a preview, then all of it; again; delete', async () => {
  const page = await openPage(browser, server);
  await fill(page);
  await page.locator('#quality input[value=fast]').check();
  await page.locator('#make-preview').click();
  await page.locator('.job:first-child', { hasText: 'preview' }).waitFor();
  await state(page, 'done');
  await page.locator('.job:first-child [data-part=whole]').click();
  await page.locator('.job:first-child:not(:has-text("preview"))').waitFor();
  await state(page, 'done');
  const count = await page.locator('.job').count();
  await page.locator('.source [data-part=remove]').first().click();
  await page.locator('.job:first-child [data-part=again]').click();
  await page.locator('#make:enabled').waitFor();
  assert.ok(await page.locator('#quality input[value=fast]').isChecked());
  await page.locator('.job:first-child [data-part=remove]').click();
  await page.locator('#confirm-yes').click();
  await page.waitForFunction((n) => document.querySelectorAll('.job').length === n, count - 1);
  await close(page);
});

test('by keyboard alone', async () => {
  const page = await openPage(browser, server);
  const reach = async (selector) => {
    for (let i = 0; i < 60; i++) {
      if (await page.evaluate((s) => document.activeElement.matches(s), selector)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`${selector} is not reached`);
  };
  page.on('filechooser', () => {}); // from now on: with the first key's press, it may come too late
  await reach('#consent-ok');
  await page.keyboard.press('Enter');
  for (const [k, path] of [files.video, files.speech].entries()) {
    await reach(`#sources .source:nth-child(${k + 1}) input[type=file]`);
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Space')]);
    await chooser.setFiles(path);
    await page.locator(`#sources .source:nth-child(${k + 1}) [data-part=chosen]`).waitFor();
  }
  await page.locator('#make:enabled').waitFor();
  await reach('#quality input');
  await page.keyboard.press('ArrowLeft');
  assert.ok(await page.locator('#quality input[value=fast]').isChecked());
  await reach('#make');
  const release = server.hold();
  await page.keyboard.press('Enter');
  await page.locator('.job:first-child:focus').waitFor();
  await state(page, 'running');
  await reach('.job:first-child [data-part=cancel]');
  await Promise.all([page.waitForResponse(/\/cancel$/), page.keyboard.press('Enter')]);
  release();
  await state(page, 'canceled');
  await close(page);
});

test('a recording from the microphone', async () => {
  const page = await openPage(browser, server);
  await page.locator('[data-part=record]:visible').click();
  await page.locator('[data-part=clock]', { hasText: /0:(0[2-9]|[1-5]\d)/ }).waitFor();
  await page.locator('[data-part=stop]:visible').click();
  await page.waitForFunction(speechIsRead);
  await close(page);
});

test('an upload that is cut goes on where it was', async () => {
  const page = await openPage(browser, server);
  const offsets = [];
  let cuts = 0;
  await page.route('**/v1/uploads/*', async (route) => {
    if (route.request().method() === 'PATCH' && cuts++ < 2) return route.abort('connectionreset');
    if (route.request().method() === 'PATCH') offsets.push(route.request().headers()['upload-offset']);
    return route.continue();
  });
  const path = join(folder, 'cut.wav');
  writeFileSync(path, Buffer.concat([readFileSync(files.speech), Buffer.from('not heard')]));
  await drop(page, '#sources .source:nth-child(2)', path);
  await page.waitForFunction(speechIsRead);
  assert.equal(offsets.length, 1);
  expectMessages(page, /ERR_CONNECTION_RESET/);
  await close(page);
});

test('what is no media is refused in words', async () => {
  const page = await openPage(browser, server);
  const path = join(folder, 'notes.mp4');
  writeFileSync(path, 'this is no video');
  await drop(page, '#sources .source:nth-child(1)', path);
  await page.locator('#sources .source:nth-child(1) [data-part=error]:not(:empty)').waitFor();
  assert.ok(await page.locator('#make').isDisabled());
  expectMessages(page, /status of 422/);
  await close(page);
});

test('the server is killed and starts again', async () => {
  const page = await openPage(browser, server);
  await fill(page);
  const release = server.hold();
  await make(page, 'best');
  await state(page, 'running');
  release();
  await server.stop('SIGKILL');
  await page.locator('#offline').waitFor();
  await server.start();
  await page.locator('#offline').waitFor({ state: 'hidden' });
  await state(page, 'done');
  expectMessages(
    page,
    /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING/,
  );
  await close(page);
});

test('Chinese, chosen and kept', async () => {
  const page = await openPage(browser, server, { locale: 'zh-CN' });
  assert.equal(await page.locator('#make').innerText(), strings.zh.make);
  await page.locator('#language').selectOption('en');
  assert.equal(await page.locator('#make').innerText(), strings.en.make);
  await page.reload();
  await page.waitForFunction(
    (words) => document.querySelector('#make').textContent === words,
    strings.en.make,
  );
  await page.locator('#language').selectOption('zh');
  await checkAccess(page);
  await close(page);
});

test('dark, whatever the system wants', async () => {
  const page = await openPage(browser, server, { colorScheme: 'light' });
  const color = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await color();
  await page.locator('#theme').click();
  await page.locator('#theme').click();
  assert.notEqual(await color(), light);
  await page.reload();
  await page.locator('#about:not(:empty)').waitFor();
  assert.notEqual(await color(), light);
  await close(page);
});

test('a server with a token', async () => {
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'correct-horse-battery-staple-17\n', { mode: 0o600 });
  const guarded = new Server('guarded', ['--token-file', tokenFile]);
  await guarded.start();
  const context = await browser.newContext();
  const page = await context.newPage();
  page.messages = [];
  page.setDefaultTimeout(patience);
  page.on('console', (m) => page.messages.push(`${m.type()}: ${m.text()}`));
  await page.goto(guarded.url);
  await page.locator('#login-token').fill('wrong');
  await page.keyboard.press('Enter');
  await page.locator('#login-error').waitFor();
  await page.locator('#login-token').fill('correct-horse-battery-staple-17');
  await page.keyboard.press('Enter');
  await page.locator('#about:not(:empty)').waitFor();
  await page.reload();
  await page.locator('#about:not(:empty)').waitFor();
  assert.ok(await page.locator('#login').isHidden());
  expectMessages(page, /status of 401/);
  await close(page);
  await guarded.stop();
});
