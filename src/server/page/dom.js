import { t } from './strings.js';

export const byId = (id) => document.getElementById(id);

/* Puts the words of the current language into everything below `root` that names them. */
export function translate(root) {
  for (const e of root.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  for (const e of root.querySelectorAll('[data-t-label]')) label(e, t(e.dataset.tLabel));
}

/* A copy of a <template>: its element as `root`, and each [data-part] by its name. */
export function clone(id) {
  const root = byId(id).content.firstElementChild.cloneNode(true);
  const parts = { root };
  for (const e of root.querySelectorAll('[data-part]')) parts[e.dataset.part] = e;
  translate(root);
  return parts;
}

export function element(tag, properties = {}, ...children) {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
}

const svg = 'http://www.w3.org/2000/svg';

export function icon(name, className = 'icon') {
  const e = document.createElementNS(svg, 'svg');
  const use = document.createElementNS(svg, 'use');
  e.setAttribute('class', className);
  e.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#i-${name}`);
  e.append(use);
  return e;
}

export function setIcon(button, name) {
  button.querySelector('use').setAttribute('href', `#i-${name}`);
}

export function label(e, words) {
  e.setAttribute('aria-label', words);
  if (e.localName === 'button') e.title = words;
}

/* Sets the text of `e`, and hides it where there is none. */
export function say(e, words) {
  if (e.textContent !== words) e.textContent = words;
  e.hidden = !words;
}

/* For screen readers. */
export function announce(words) {
  byId('announce').textContent = words;
}

export function confirm(question, yes) {
  const dialog = byId('confirm');
  byId('confirm-text').textContent = question;
  byId('confirm-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/* What the browser keeps for this page; nothing, where it refuses. */
export const memory = {
  get(key) {
    try {
      return JSON.parse(localStorage.getItem(`latentsync.${key}`));
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`latentsync.${key}`, JSON.stringify(value));
    } catch {
      /* private windows may have no room */
    }
  },
};
