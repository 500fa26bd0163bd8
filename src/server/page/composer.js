import { api, url } from './api.js';
import { announce, byId, element, icon, memory, say, sleep } from './dom.js';
import * as format from './format.js';
import { Source } from './source.js';
import { t } from './strings.js';

const qualities = ['fast', 'balanced', 'best', 'auto'];
const elsewhere = new Set(['quality', 'face', 'preview', 'device', 'threads']);

/* The form that makes jobs. */
export class Composer {
  constructor(jobs) {
    this.jobs = jobs;
    this.video = new Source('video', () => this.changed('video'));
    this.audio = new Source('audio', () => this.changed('audio'));
    this.voice = new Source('voice', () => this.changed('voice'));
    this.face = this.wantedFace = 'largest';
    this.quality = 'balanced';
    this.settings = {};
    this.error = '';
    this.options = [];
    byId('sources').append(this.video.root, this.audio.root);
    byId('voice').append(this.voice.root);
    byId('composer').addEventListener('submit', (e) => {
      e.preventDefault();
      this.make(null);
    });
    byId('make-preview').addEventListener('click', () => this.make(2));
    acceptDrops((file) => this.takeDropped(file));
    this.render();
  }

  /* What the server can do, and the files from before a reload. */
  async open(capabilities) {
    this.options = (capabilities.options || []).filter((o) => !elsewhere.has(o.name));
    this.renderSettings();
    for (const source of this.sources) {
      const id = memory.get(`draft.${source.kind}`);
      if (id && !source.name) source.restore(id).then(() => source.error && source.drop());
    }
  }

  get sources() {
    return [this.video, this.audio, this.voice];
  }

  get isReady() {
    return this.video.isReady && this.audio.isReady && !this.voice.isBusy;
  }

  takeDropped(file, zone) {
    const isSound = file.type.startsWith('audio/') || /\.(wav|mp3|m4a|aac|flac|ogg|opus)$/i.test(file.name);
    const source = this.sources.find(({ root }) => root === zone);
    (source && (isSound || source !== this.audio) ? source : isSound ? this.audio : this.video).take(file);
  }

  /* A job's files and settings again. */
  async again(job) {
    const { quality, face, ...settings } = job.options;
    Object.assign(this, { quality: quality || 'auto', settings, wantedFace: String(face || 'largest') });
    byId('more').open = Object.keys(settings).length > 0 || Boolean(job.features_from);
    if (!job.features_from) this.voice.drop();
    this.renderSettings();
    this.render();
    byId('composer').scrollIntoView({ block: 'start' });
    byId('quality-list').querySelector(':checked').focus();
    await Promise.all([
      this.video.restore(job.video.id),
      this.audio.restore(job.audio.id),
      job.features_from && this.voice.restore(job.features_from),
    ]);
  }

  changed(kind) {
    if (kind === 'video') this.lookForFaces();
    this.error = '';
    this.estimate();
    this.render();
  }

  async lookForFaces() {
    const id = this.video.upload;
    if (this.facesOf === id) return;
    Object.assign(this, { facesOf: id, faces: null, facesError: '', face: 'largest' });
    while (id && this.facesOf === id && !this.faces && !this.facesError) {
      try {
        const answer = await api('GET', `v1/uploads/${id}/faces`, undefined, { patient: true });
        if (this.facesOf !== id) return;
        this.facesFraction = answer.fraction || 0;
        if (answer.state === 'done') this.showFaces(answer.faces);
      } catch (e) {
        if (this.facesOf === id) this.facesError = e.message;
      }
      this.renderFaces();
      if (!this.faces) await sleep(1);
    }
    this.render();
  }

  showFaces(faces) {
    this.faces = faces;
    if (faces.some((face) => String(face.id) === this.wantedFace)) this.face = this.wantedFace;
    this.wantedFace = 'largest';
    announce(this.facesNote());
  }

  facesNote() {
    if (this.facesError) return this.facesError;
    if (!this.faces)
      return t('facesLooking', {
        percent: this.facesFraction ? format.percent(100 * this.facesFraction) : '',
      });
    return t(['facesNone', 'facesOne'][this.faces.length] || 'facesFound');
  }

  /* Measured anew when the files or the settings are others; those of before stay until then. */
  async estimate() {
    const key =
      this.video.isReady && this.audio.isReady
        ? JSON.stringify([this.video.upload, this.audio.upload, this.settings])
        : '';
    if (key === this.estimateKey) return;
    Object.assign(this, { estimateKey: key, estimates: null, estimateError: '' });
    if (!key) return;
    await sleep(0.6);
    if (key !== this.estimateKey) return;
    try {
      const answer = await api(
        'POST',
        'v1/estimate',
        { video: this.video.upload, audio: this.audio.upload, options: this.settings },
        { patient: true },
      );
      if (key === this.estimateKey) this.estimates = new Map(answer.estimates.map((e) => [e.quality, e]));
    } catch (e) {
      if (key === this.estimateKey) this.estimateError = e.message;
    }
    if (key === this.estimateKey) this.render();
  }

  async make(preview) {
    if (!this.isReady) {
      this.error = t('needVideo');
      this.render();
      return;
    }
    const options = { ...this.settings, quality: this.quality };
    if (this.face !== 'largest') options.face = this.face;
    this.isSending = true;
    this.error = '';
    this.render();
    try {
      await this.jobs.add({
        video: this.video.upload,
        audio: this.audio.upload,
        features_from: this.voice.upload,
        name: this.video.name.replace(/\.\w{1,5}$/, ''),
        preview,
        options,
      });
    } catch (e) {
      this.error = [e.message, e.hint].filter(Boolean).join('. ');
    }
    this.isSending = false;
    this.render();
  }

  render() {
    for (const source of this.sources) source.render();
    this.renderFaces();
    this.renderQuality();
    byId('make').disabled = byId('make-preview').disabled = !this.isReady || Boolean(this.isSending);
    byId('composer-note').textContent = this.isReady
      ? ''
      : t(this.sources.some((source) => source.isBusy) ? 'needUpload' : 'needVideo');
    say(byId('composer-error'), this.error);
  }

  renderFaces() {
    byId('faces').hidden = !this.video.isReady;
    byId('faces-note').textContent = this.facesNote();
    const faces = this.faces || [];
    const choices = faces.length > 1 ? [{ id: 'largest' }, ...faces] : faces;
    const shown = JSON.stringify([choices, document.documentElement.lang]);
    if (shown !== this.facesShown)
      byId('faces-list').replaceChildren(...choices.map((face) => this.faceChoice(face)));
    this.facesShown = shown;
    for (const input of byId('faces-list').querySelectorAll('input'))
      input.checked = input.value === this.face || faces.length === 1;
  }

  faceChoice(face) {
    const value = String(face.id);
    const isTrack = face.id !== 'largest';
    const input = element('input', { type: 'radio', name: 'face', value });
    input.addEventListener('change', () => {
      this.face = value;
    });
    return element(
      'label',
      { className: 'face' },
      input,
      isTrack
        ? element('img', { src: url(`v1/uploads/${this.facesOf}/faces/${face.id}.png`), alt: '' })
        : icon('face'),
      element('b', { textContent: isTrack ? t('faceNumber', { n: face.id }) : t('faceLargest') }),
      element('small', {
        textContent: isTrack
          ? t('faceShare', { percent: format.percent(100 * face.share) })
          : t('faceLargestHelp'),
      }),
    );
  }

  renderQuality() {
    const list = byId('quality-list'),
      isMeasuring = Boolean(this.estimateKey && !this.estimates && !this.estimateError);
    if (!list.children.length) list.append(...qualities.map((name) => this.qualityChoice(name)));
    for (const tile of list.children) {
      const name = tile.firstChild.value;
      const e = this.estimates?.get(name);
      const [title, time, help] = tile.querySelectorAll('span, b, small');
      tile.firstChild.checked = name === this.quality;
      title.textContent = t(`qualities.${name}`);
      time.textContent = e ? t('about', { time: format.seconds(e.run_seconds) }) : isMeasuring ? '…' : '';
      time.classList.toggle('waiting', isMeasuring);
      help.textContent = e ? this.memoryOf(e) : t(`qualityHelp.${name}`);
    }
    byId('quality-note').textContent = this.qualityNote();
  }

  qualityChoice(name) {
    const input = element('input', { type: 'radio', name: 'quality', value: name });
    input.addEventListener('change', () => {
      this.quality = name;
      this.renderQuality();
    });
    return element('label', { className: 'tile' }, input, element('span'), element('b'), element('small'));
  }

  memoryOf(e) {
    const parts = [t('memory', { size: format.bytes(e.memory_bytes) })];
    if (e.card_memory_bytes > 0) parts.push(t('memoryCard', { size: format.bytes(e.card_memory_bytes) }));
    return parts.join(', ');
  }

  qualityNote() {
    if (this.estimateError) return t('estimateFailed', { why: this.estimateError });
    if (!this.estimates) return t(this.estimateKey ? 'estimating' : 'estimateWaits');
    const e = this.estimates.get(this.quality);
    return e
      ? t('estimateFor', {
          seconds: format.seconds(e.seconds),
          quality: t(`qualities.${this.quality}`),
          idle: format.seconds(e.idle_seconds),
        })
      : '';
  }

  renderSettings() {
    const groups = [...new Set(this.options.map((o) => o.group))];
    byId('more').hidden = !groups.length;
    byId('settings').replaceChildren(
      ...groups.flatMap((group) => [
        element('h3', { textContent: t(`groups.${group}`, {}, group) }),
        ...this.options.filter((o) => o.group === group).map((o) => this.setting(o)),
      ]),
    );
  }

  setting(option) {
    const { name } = option;
    const input = field(option, this.settings[name]);
    input.value = this.settings[name] ?? '';
    input.addEventListener('change', () => {
      if (input.value === '') delete this.settings[name];
      else this.settings[name] = input.value;
      this.estimate();
      this.render();
    });
    const title =
      t(`options.${name}`, {}, name) +
      (option.unit ? ` (${t(`units.${option.unit}`, {}, option.unit)})` : '');
    return element(
      'label',
      {},
      element('span', { textContent: title }),
      input,
      element('small', { textContent: option.help, lang: 'en' }),
    );
  }
}

/* A control for an option of the table; empty stands for its default. A text with choices may be another. */
function field(option, value) {
  const initial = option.default ?? t('automatic');
  const choices = option.type === 'flag' ? ['1', '0'] : option.choices && [...option.choices];
  if (choices && value && !choices.includes(value)) choices.push(value);
  if (choices) {
    const words = (value) => (option.type === 'flag' ? t(value === '1' ? 'yes' : 'no') : value);
    return element(
      'select',
      {},
      element('option', {
        value: '',
        textContent: `${t('automatic')}${option.default && option.default !== 'auto' ? ` (${words(String(option.default))})` : ''}`,
      }),
      ...choices.map((value) => element('option', { value, textContent: words(value) })),
    );
  }
  const isNumber = option.type === 'integer' || option.type === 'number';
  const input = element('input', { type: isNumber ? 'number' : 'text', placeholder: initial });
  if (isNumber)
    Object.assign(input, {
      step: option.type === 'integer' ? 1 : 'any',
      min: option.min ?? '',
      max: option.max ?? '',
    });
  return input;
}

/* Files may be dropped anywhere. */
function acceptDrops(take) {
  const root = document.documentElement;
  const hasFiles = (e) => e.dataTransfer?.types.includes('Files');
  document.addEventListener('dragover', (e) => {
    if (!hasFiles(e)) return;
    e.preventDefault();
    root.classList.add('dragging');
  });
  document.addEventListener('dragleave', (e) => {
    if (!e.relatedTarget) root.classList.remove('dragging');
  });
  document.addEventListener('drop', (e) => {
    root.classList.remove('dragging');
    if (!hasFiles(e)) return;
    e.preventDefault();
    for (const file of e.dataTransfer.files) take(file, e.target.closest?.('.source'));
  });
}
