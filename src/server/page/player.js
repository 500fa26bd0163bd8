import { url } from './api.js';
import { clone, element, label, memory, say, setIcon } from './dom.js';
import { clock } from './format.js';
import { playLive } from './live.js';
import { isPicture } from './source.js';
import { t } from './strings.js';

const modes = ['wiping', 'beside', 'only'];

/* Where the original is while the new video is at `time`: it runs forwards and backwards in turn. */
function originalTime(time, length) {
  const turn = time % (2 * length);
  return turn < length ? { at: turn, isBackwards: false } : { at: 2 * length - turn, isBackwards: true };
}

/* The video of a job beside what it was made from; of a running job, as far as it is made. */
export class Player {
  constructor(job) {
    this.job = job;
    this.parts = clone('player');
    this.video = this.parts.video;
    this.end = new AbortController();
    this.start = job.result?.start || 0;
    this.connect();
    this.setMode('only');
    if (job.state === 'done') this.openDone();
    else this.openLive();
    this.render();
  }

  get root() {
    return this.parts.root;
  }

  close() {
    this.end.abort();
    this.video.pause();
    this.video.removeAttribute('src');
    this.root.remove();
  }

  openLive() {
    this.say('liveNote');
    playLive(this.video, url(`v1/jobs/${this.job.id}/stream.m3u8`), this.end.signal, () =>
      this.say('liveFailed'),
    );
    this.play();
  }

  openDone() {
    const { id, video } = this.job;
    this.video.src = url(`v1/jobs/${id}/output?inline=1`);
    this.play();
    const src = url(`v1/uploads/${video.id}/content`);
    const onerror = () => {
      this.setMode('only');
      this.say('noBefore');
      this.before = null;
      this.render();
    };
    this.before = isPicture(video.name)
      ? element('img', { src, alt: '', onerror })
      : element('video', { src, muted: true, playsInline: true, preload: 'auto', onerror });
    this.parts.before.prepend(this.before);
    this.setMode(memory.get('view') || 'wiping');
  }

  say(key) {
    this.note = key;
    say(this.parts.note, key ? t(key) : '');
  }

  play() {
    this.video.play().catch(() => {
      /* the browser may want a click first */
    });
  }

  connect() {
    const { parts: p, video } = this;
    p.play.addEventListener('click', () => (video.paused ? this.play() : video.pause()));
    p.after.addEventListener('click', () => p.play.click());
    p.mute.addEventListener('click', () => {
      video.muted = !video.muted;
    });
    p.seek.addEventListener('input', () => {
      video.currentTime = p.seek.value * this.length;
    });
    p.wipe.addEventListener('input', () => this.wipe());
    p.mode.addEventListener('change', () => {
      memory.set('view', p.mode.value);
      this.setMode(p.mode.value);
    });
    p.full.addEventListener('click', () =>
      document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen(),
    );
    p.full.hidden = !document.fullscreenEnabled;
    for (const name of ['play', 'pause', 'volumechange', 'timeupdate', 'durationchange', 'seeked', 'ended'])
      video.addEventListener(name, () => this.renderControls());
    video.addEventListener('loadedmetadata', () =>
      p.stage.style.setProperty('--ratio', video.videoWidth / video.videoHeight || 1),
    );
    video.addEventListener('ended', () => {
      if (this.job.state !== 'done') return;
      video.currentTime = 0;
      this.play();
    });
    const tick = () => {
      if (this.end.signal.aborted) return;
      this.follow();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  get length() {
    const { duration, buffered } = this.video;
    if (Number.isFinite(duration)) return duration;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  setMode(mode) {
    this.mode = mode;
    for (const each of modes) this.parts.stage.classList.toggle(each, each === mode);
    this.parts.mode.value = mode;
    this.wipe();
  }

  wipe() {
    this.parts.stage.style.setProperty('--at', `${this.parts.wipe.value}%`);
  }

  /* Keeps the original in step: nudged where it is a little off, moved where it is far off. */
  follow() {
    const before = this.before;
    if (!(before instanceof HTMLVideoElement) || !before.duration || this.mode === 'only') return;
    const { at, isBackwards } = originalTime(this.start + this.video.currentTime, before.duration);
    const late = at - before.currentTime;
    const isPlaying = !this.video.paused && !isBackwards;
    if (before.paused === isPlaying) isPlaying ? before.play().catch(() => {}) : before.pause();
    if (Math.abs(late) > (isPlaying ? 0.2 : 0.02)) {
      if (!before.seeking) before.currentTime = at;
    } else if (isPlaying) {
      before.playbackRate = Math.abs(late) > 0.02 ? 1 + late : 1;
    }
  }

  renderControls() {
    const { parts: p, video } = this;
    setIcon(p.play, video.paused ? 'play' : 'pause');
    label(p.play, t(video.paused ? 'play' : 'pause'));
    setIcon(p.mute, video.muted ? 'muted' : 'sound');
    label(p.mute, t(video.muted ? 'unmute' : 'mute'));
    const time = `${clock(video.currentTime)} / ${clock(this.length)}`;
    p.time.textContent = time;
    p.seek.value = this.length ? video.currentTime / this.length : 0;
    p.seek.setAttribute('aria-valuetext', time);
  }

  render() {
    const p = this.parts;
    const choice = this.before ? modes : ['only'];
    p.mode.replaceChildren(
      ...choice.map((value) => element('option', { value, textContent: t(`views.${value}`) })),
    );
    p.mode.value = this.mode;
    p.mode.hidden = choice.length < 2;
    this.say(this.note);
    this.renderControls();
  }
}
