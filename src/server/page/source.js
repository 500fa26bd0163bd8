import { api, url } from './api.js';
import { announce, clone, element, icon, label, memory, say, setIcon } from './dom.js';
import * as format from './format.js';
import { canRecord, record } from './record.js';
import { t } from './strings.js';
import { send } from './upload.js';
import { wave } from './wave.js';

const accepts = { video: 'video/*,image/*', audio: 'audio/*,video/*', voice: 'audio/*,video/*' };
const hints = { video: 'dropVideo', audio: 'dropAudio', voice: 'dropVoice' };
const waveLimit = 64 << 20; // bytes that are decoded to draw them

/* A file that a job needs: chosen, dropped or recorded, uploaded, and what is in it. `changed` is
 * called whenever `upload`, the ID once all of it is there, or `probe` is another. */
export class Source {
  constructor(kind, changed) {
    this.kind = kind;
    this.changed = changed;
    this.parts = clone('source');
    this.clear();
    this.connect();
    this.render();
  }

  get root() {
    return this.parts.root;
  }

  get icon() {
    return this.kind === 'video' ? 'video' : 'audio';
  }

  get isReady() {
    return Boolean(this.upload && this.probe);
  }

  get isBusy() {
    return Boolean(this.name) && !this.isReady && !this.error;
  }

  clear() {
    this.work?.abort();
    this.work = new AbortController();
    Object.assign(this, { name: '', size: 0, sent: 0, upload: null, probe: null, error: '', isHalf: false });
    if (this.local) URL.revokeObjectURL(this.local);
    this.local = null;
    this.parts.view.replaceChildren();
  }

  connect() {
    const p = this.parts;
    p.file.accept = accepts[this.kind];
    p.file.addEventListener('change', () => {
      const [file] = p.file.files;
      p.file.value = '';
      if (!file) return;
      this.take(file);
      p.remove.focus();
    });
    p.remove.addEventListener('click', () => {
      this.drop();
      p.file.focus();
    });
    p.play.addEventListener('click', () => {
      const video = p.view.querySelector('video');
      if (video.paused) video.play();
      else video.pause();
    });
    p.record.addEventListener('click', () => this.startRecording());
    p.stop.addEventListener('click', () => this.endRecording(true));
    p.discard.addEventListener('click', () => this.endRecording(false));
  }

  drop() {
    this.clear();
    memory.set(`draft.${this.kind}`, null);
    this.render();
    this.changed();
  }

  /* Takes a file of the user's: shows it at once, and sends it. */
  async take(file) {
    this.clear();
    Object.assign(this, { name: file.name, size: file.size, local: URL.createObjectURL(file) });
    this.show(file);
    this.render();
    this.changed();
    await this.attempt(async (signal) => {
      if (!file.size) throw new Error(t('emptyFile'));
      const id = await send(
        file,
        (started) => memory.set(`draft.${this.kind}`, started),
        (sent) => {
          if (signal.aborted) return;
          this.sent = sent;
          this.render();
        },
        signal,
      );
      await this.examine(id, signal);
      announce(t('uploaded', { name: this.name }));
    });
  }

  /* Takes an upload that the server has. */
  async restore(id) {
    this.clear();
    await this.attempt(async (signal) => {
      const upload = await api('GET', `v1/uploads/${id}`);
      signal.throwIfAborted();
      Object.assign(this, { name: upload.name, size: upload.size, sent: upload.received });
      memory.set(`draft.${this.kind}`, id);
      if (upload.state === 'complete') await this.examine(id, signal);
      else this.isHalf = true;
    });
  }

  /* Errors belong to the file, unless it has been replaced meanwhile. */
  async attempt(task) {
    const { signal } = this.work;
    try {
      await task(signal);
    } catch (e) {
      if (signal.aborted) return;
      this.error = e.message;
    }
    if (signal.aborted) return;
    this.render();
    this.changed();
  }

  async examine(id, signal) {
    this.sent = this.size;
    this.render();
    const probe = await api('GET', `v1/uploads/${id}/probe`, undefined, { signal, patient: true });
    signal.throwIfAborted();
    if (!(this.kind === 'video' ? probe.is_video : probe.is_speech))
      throw new Error(t(this.kind === 'video' ? 'notVideo' : 'notSpeech'));
    Object.assign(this, { upload: id, probe });
    if (!this.parts.view.firstChild) this.show(null);
  }

  show(file) {
    const view = this.parts.view;
    const src = this.local || url(`v1/uploads/${this.upload}/content`);
    const broken = () => {
      view.replaceChildren(icon(this.icon, 'icon big'));
      this.parts.play.hidden = true;
    };
    this.parts.play.hidden = true;
    if (this.kind !== 'video') {
      view.replaceChildren(element('audio', { src, controls: true, preload: 'metadata' }));
      if (this.size <= waveLimit) wave(file || src, this.work.signal).then((e) => e && view.prepend(e));
    } else if (isPicture(this.name)) {
      view.replaceChildren(element('img', { src, alt: '', onerror: broken }));
    } else {
      this.parts.play.hidden = false;
      const onpause = () => this.renderPlay();
      view.replaceChildren(
        element('video', {
          src,
          loop: true,
          playsInline: true,
          preload: 'auto',
          onplay: onpause,
          onpause,
          onerror: broken,
        }),
      );
      this.renderPlay();
    }
  }

  renderPlay() {
    const { play, view } = this.parts;
    const isPaused = view.querySelector('video')?.paused ?? true;
    setIcon(play, isPaused ? 'play' : 'pause');
    label(play, t(isPaused ? 'play' : 'pause'));
  }

  async startRecording() {
    const p = this.parts;
    this.drop();
    try {
      const name = t('recordingName', { time: new Date().toTimeString().slice(0, 5).replace(':', '.') });
      this.recorder = await record(name, (level) => p.level.style.setProperty('--level', level));
    } catch (e) {
      this.error = t('noMicrophone', { why: e.message });
      this.render();
      return;
    }
    const start = Date.now();
    const tick = () => {
      p.clock.textContent = format.clock((Date.now() - start) / 1000);
    };
    this.timer = setInterval(tick, 250);
    tick();
    this.render();
    p.stop.focus();
  }

  async endRecording(isWanted) {
    const recorder = this.recorder;
    this.recorder = null;
    clearInterval(this.timer);
    const file = await recorder.stop();
    this.render();
    if (isWanted) this.take(file);
    this.parts[isWanted ? 'remove' : 'record'].focus();
  }

  facts() {
    if (this.isHalf) return t('continueUpload', { percent: format.percent((100 * this.sent) / this.size) });
    if (this.sent < this.size)
      return t('uploading', {
        percent: format.percent((100 * this.sent) / this.size),
        size: format.bytes(this.size),
      });
    if (!this.probe) return this.error ? format.bytes(this.size) : t('examining');
    const p = this.probe;
    const known = [isPicture(this.name) ? t('picture') : p.seconds > 0 && format.seconds(p.seconds)];
    if (this.kind === 'video') known.push(`${p.width} × ${p.height}`);
    return [...known, format.bytes(this.size)].filter(Boolean).join(' · ');
  }

  render() {
    const p = this.parts,
      isChosen = Boolean(this.name);
    p.title.textContent = t(this.kind);
    p.hint.textContent = t(hints[this.kind]);
    p.icon.setAttribute('href', `#i-${this.icon}`);
    p.record.hidden = this.kind !== 'audio' || !canRecord();
    p.drop.hidden = (isChosen && !this.isHalf) || Boolean(this.recorder);
    p.recording.hidden = !this.recorder;
    p.chosen.hidden = !isChosen;
    p.view.parentElement.hidden = this.isHalf;
    p.name.textContent = p.name.title = this.name;
    p.facts.textContent = this.facts();
    p.bar.hidden = this.sent >= this.size || Boolean(this.error);
    p.bar.value = this.size ? this.sent / this.size : 0;
    p.bar.setAttribute('aria-label', t('uploadBar', { name: this.name }));
    say(p.notes, (this.probe?.notes || []).join(' · '));
    say(p.error, this.error);
    this.renderPlay();
  }
}

export const isPicture = (name) => /\.(png|jpe?g|webp|bmp|tiff?)$/i.test(name);
