import { api, url } from './api.js';
import { announce, byId, clone, confirm, element, say, setIcon, translate } from './dom.js';
import * as format from './format.js';
import { Player } from './player.js';
import { t } from './strings.js';

const isActive = (job) => job.state === 'queued' || job.state === 'running';
const streams = 3; // followed at a time: browsers open six connections to a server
const page = 20;

class Card {
  constructor(job, list) {
    this.list = list;
    this.parts = clone('job');
    this.parts.root.dataset.id = job.id;
    this.figures = new Map();
    this.connect();
    this.update(job);
  }

  get root() {
    return this.parts.root;
  }

  connect() {
    const p = this.parts;
    const act = (button, task) =>
      button.addEventListener('click', async () => {
        button.disabled = true;
        await task().catch((e) => say(p.error, t('failed', { why: e.message })));
        button.disabled = false;
      });
    act(p.cancel, () => this.request('POST', '/cancel'));
    act(p.resume, () => this.request('POST', '/resume'));
    act(p.whole, () => this.list.makeWhole(this.job));
    act(p.remove, () => this.remove());
    p.again.addEventListener('click', () => this.list.again(this.job));
    p.watch.addEventListener('click', () => this.toggle());
    p.thumb.addEventListener('click', () => {
      if (!p.watch.hidden && !this.player) this.toggle();
    });
  }

  async request(method, action) {
    await api(method, `v1/jobs/${this.job.id}${action}`);
    await this.refresh();
    if (document.activeElement === document.body) this.root.focus();
  }

  async refresh() {
    this.update(await api('GET', `v1/jobs/${this.job.id}`));
  }

  async remove() {
    const { id, name } = this.job;
    if (!(await confirm(t('deleteAsk', { name }), t('delete')))) return;
    await api('DELETE', `v1/jobs/${id}`);
    const next = this.root.nextElementSibling || this.root.previousElementSibling;
    this.list.forget(id);
    (next || byId('composer').querySelector('button, input')).focus();
    announce(t('deleted', { name }));
  }

  toggle() {
    const p = this.parts;
    if (this.player) this.player.close();
    this.player = this.player ? null : new Player(this.job);
    p.show.hidden = !this.player;
    if (this.player) p.show.append(this.player.root);
    this.render();
  }

  update(job) {
    const last = this.job;
    this.job = { ...job, name: job.name || job.video.name };
    if (last && last.state !== job.state) this.changeState();
    this.follow();
    this.render();
  }

  changeState() {
    const { name, state } = this.job;
    announce(t('nowState', { name, state: t(`states.${state}`) }));
    if (!this.player) return;
    this.toggle();
    if (state === 'done') this.toggle();
  }

  /* Listens to a running job. The browser connects again by itself, from the last event on. */
  follow() {
    const wanted = this.job.state === 'running' && (this.events || this.list.listening() < streams);
    if (!wanted || this.events?.readyState === EventSource.CLOSED) {
      this.events?.close();
      this.events = null;
    }
    if (!wanted || this.events) return;
    this.events = new EventSource(url(`v1/jobs/${this.job.id}/events`));
    const reload = () =>
      this.refresh().catch(() => {
        /* the list is asked for again soon */
      });
    for (const name of ['state', 'done']) this.events.addEventListener(name, reload);
    this.events.addEventListener('progress', (e) => this.advance(JSON.parse(e.data)));
  }

  advance(progress) {
    const part = (p) => Math.floor(4 * (p?.fraction || 0));
    if (part(progress) > part(this.job.progress) && progress.stage === this.job.progress?.stage)
      announce(t('nowPart', { name: this.job.name, percent: format.percent(100 * progress.fraction) }));
    this.job = { ...this.job, progress };
    this.render();
  }

  close() {
    this.events?.close();
    this.player?.close();
    this.root.remove();
  }

  render() {
    const { parts: p, job } = this;
    const isDone = job.state === 'done',
      isRunning = job.state === 'running';
    p.name.textContent = job.name;
    p.state.dataset.state = job.state;
    p.state.textContent = stateOf(job);
    p.about.textContent = describe(job);
    p.bar.hidden = !isActive(job);
    p.bar.setAttribute('aria-label', t('progressOf', { name: job.name }));
    if (isRunning && !job.progress?.fraction) p.bar.removeAttribute('value');
    else p.bar.value = job.progress?.fraction || 0;
    this.renderFigures(isDone ? results(job) : isRunning ? measures(job.progress) : []);
    say(
      p.notes,
      (job.messages || [])
        .filter((m) => m.level === 'warning' || m.level === 'notice')
        .map((m) => m.text)
        .join(' · '),
    );
    say(p.error, job.error ? [job.error.message, job.error.hint].filter(Boolean).join('. ') : '');
    this.renderFrame();
    this.renderActions();
  }

  renderActions() {
    const { parts: p, job } = this;
    const isDone = job.state === 'done',
      isRunning = job.state === 'running';
    const isOver = job.state === 'failed' || job.state === 'canceled';
    p.watch.hidden = !isDone && !(isRunning && job.progress?.frame > 0 && !job.preview);
    setIcon(p.watch, this.player ? 'close' : 'play');
    p.watchText.textContent = t(this.player ? 'hide' : isDone ? 'watch' : 'watchLive');
    p.watch.setAttribute('aria-expanded', Boolean(this.player));
    p.download.hidden = !isDone;
    p.download.href = url(`v1/jobs/${job.id}/output`);
    p.whole.hidden = !isDone || !job.preview;
    p.resume.hidden = !isOver;
    p.again.hidden = isActive(job);
    p.cancel.hidden = !isActive(job);
    p.remove.hidden = isActive(job);
  }

  /* Figures stay the same elements, so that reading them is not interrupted. */
  renderFigures(rows) {
    const all = this.parts.figures,
      names = new Set(rows.map(([name]) => name));
    for (const [name, e] of this.figures)
      if (!names.has(name)) {
        e.root.remove();
        this.figures.delete(name);
      }
    rows.forEach(([name, value], k) => {
      if (!this.figures.has(name)) {
        const dt = element('dt'),
          dd = element('dd');
        const root = element('div', {}, dt, dd);
        this.figures.set(name, { root, dt, dd });
      }
      const { root, dt, dd } = this.figures.get(name);
      if (all.children[k] !== root) all.insertBefore(root, all.children[k] || null);
      dt.textContent = t(name);
      dd.textContent = value;
    });
  }

  /* The newest frame, asked for when there is another, and then only once at a time. */
  renderFrame() {
    const { job, parts: p } = this;
    const frame = job.state === 'done' ? 'done' : job.progress?.frame || 0;
    const alt = t('frameOf', { name: job.name });
    if (this.image) this.image.alt = alt;
    if (!frame || frame === this.frame || this.isLoading) return;
    this.isLoading = true;
    this.frame = frame;
    const image = element('img', { alt });
    image.onload = () => {
      this.isLoading = false;
      this.image = image;
      p.thumb.replaceChildren(image);
    };
    image.onerror = () => {
      this.isLoading = false;
    };
    image.src = url(`v1/jobs/${job.id}/preview.jpg?${frame}`);
  }
}

function stateOf({ state, position, progress }) {
  if (position > 1) return t('queuePosition', { n: position });
  return t(state === 'running' && progress ? `stages.${progress.stage}` : `states.${state}`);
}

function describe(job) {
  const { quality, face, ...others } = job.options;
  return [
    job.preview && t('preview', { seconds: format.seconds(job.preview) }),
    t(`qualities.${quality || 'auto'}`),
    face && (Number(face) ? t('faceNumber', { n: face }) : face),
    ...Object.entries(others).map(([name, value]) => `${t(`options.${name}`, {}, name)} ${value}`),
    format.moment(job.created),
  ]
    .filter(Boolean)
    .join(' · ');
}

function measures(p) {
  if (!p) return [];
  return [
    ['step', p.steps > 0 && `${p.step} / ${p.steps}`],
    ['frame', p.frames > 0 && `${format.number(p.frame)} / ${format.number(p.frames)}`],
    ['left', p.seconds_left > 0 && format.seconds(p.seconds_left)],
    ['speed', p.frames_per_second > 0 && format.number(p.frames_per_second, 1)],
    ['cpu', p.cpu_percent > 0 && format.percent(p.cpu_percent)],
    ['memoryShort', p.resident_bytes > 0 && format.bytes(p.resident_bytes)],
    ['card', p.gpu && card(p.gpu)],
  ].filter(([, value]) => value);
}

function card({ percent, bytes }) {
  return [percent >= 0 && format.percent(percent), bytes > 0 && format.bytes(bytes)]
    .filter(Boolean)
    .join(', ');
}

function results(job) {
  const r = job.result || {};
  return [
    ['length', r.seconds > 0 && format.seconds(r.seconds)],
    ['frames', r.frames > 0 && format.number(r.frames)],
    ['size', r.bytes > 0 && format.bytes(r.bytes)],
    ['took', r.elapsed_seconds > 0 && format.seconds(r.elapsed_seconds)],
    ['memoryShort', r.peak_resident_bytes > 0 && format.bytes(r.peak_resident_bytes)],
  ].filter(([, value]) => value);
}

/* All jobs of the server, newest first, kept as they change. */
export class Jobs {
  constructor({ again, online }) {
    Object.assign(this, { again, online, cards: new Map(), next: null, older: [] });
    byId('jobs-more').addEventListener('click', () => this.showMore());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.poll();
    });
  }

  listening() {
    return [...this.cards.values()].filter((card) => card.events).length;
  }

  async makeWhole(job) {
    await this.add({
      video: job.video.id,
      audio: job.audio.id,
      features_from: job.features_from ?? null,
      name: job.name,
      preview: null,
      options: job.options,
    });
  }

  async add(request) {
    const job = await api('POST', 'v1/jobs', request);
    this.put([job]);
    const { root } = this.cards.get(job.id);
    byId('jobs').prepend(root);
    root.focus();
    announce(t('queued', { name: job.name }));
    this.poll();
  }

  forget(id) {
    this.cards.get(id).close();
    this.cards.delete(id);
    this.renderEmpty();
  }

  put(jobs) {
    for (const job of jobs) {
      if (this.cards.has(job.id)) this.cards.get(job.id).update(job);
      else this.cards.set(job.id, new Card(job, this));
    }
    this.renderEmpty();
  }

  /* Cards in the order of `jobs`, at the top; none is moved that is in its place. */
  arrange(jobs) {
    const list = byId('jobs');
    jobs.forEach((job, k) => {
      const { root } = this.cards.get(job.id);
      if (list.children[k] !== root) list.insertBefore(root, list.children[k] || null);
    });
  }

  async showMore() {
    const { jobs, next } = await api('GET', `v1/jobs?limit=${page}&after=${encodeURIComponent(this.next)}`);
    this.put(jobs);
    for (const job of jobs) byId('jobs').append(this.cards.get(job.id).root);
    this.next = next;
    this.hasMore = true;
    this.renderEmpty();
    if (jobs.length) this.cards.get(jobs[0].id).root.focus();
  }

  /* Asks for the list, soon again while something runs, and later again where nobody answers. */
  async poll() {
    clearTimeout(this.timer);
    let wait = 20;
    try {
      const { jobs, next } = await api('GET', `v1/jobs?limit=${page}`);
      this.put(jobs);
      this.arrange(jobs);
      this.dropDeleted(jobs, next);
      if (!this.hasMore) this.next = next;
      this.renderEmpty();
      this.online(true);
      this.showTitle();
      if (jobs.some(isActive)) wait = 3;
    } catch {
      this.online(false);
      wait = 3;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), 1000 * (document.hidden ? 10 * wait : wait));
  }

  /* Those that another page deleted; of older ones than the answer has, nothing is known. */
  dropDeleted(jobs, next) {
    const known = new Set(jobs.map((job) => job.id));
    const oldest = jobs.at(-1)?.created;
    for (const [id, card] of this.cards)
      if (!known.has(id) && (!next || card.job.created > oldest)) this.forget(id);
  }

  /* How far the first running job is, for those who look at other tabs. */
  showTitle() {
    const running = [...this.cards.values()].find(({ job }) => job.state === 'running')?.job;
    document.title = running
      ? `${format.percent(Math.floor(100 * (running.progress?.fraction || 0)))} · latentsync`
      : 'latentsync';
  }

  renderEmpty() {
    byId('jobs-empty').hidden = this.cards.size > 0;
    byId('jobs-more').hidden = !this.next;
  }

  render() {
    for (const card of this.cards.values()) {
      translate(card.root);
      card.render();
      card.player?.render();
    }
  }
}
