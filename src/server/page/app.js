import { api, onUnauthorized } from './api.js';
import { Composer } from './composer.js';
import { announce, byId, label, memory, setIcon, translate } from './dom.js';
import { Jobs } from './jobs.js';
import { choose, language, t } from './strings.js';

const themes = ['auto', 'light', 'dark'];
let theme = memory.get('theme') || 'auto';
let capabilities = null;

function showTheme() {
  const name = `theme${theme[0].toUpperCase()}${theme.slice(1)}`;
  document.documentElement.dataset.theme = theme;
  setIcon(byId('theme'), theme);
  label(byId('theme'), t(name));
}

byId('theme').addEventListener('click', () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  memory.set('theme', theme);
  showTheme();
});

function showAbout() {
  byId('about').textContent = capabilities
    ? t('footer', {
        version: capabilities.version,
        model: capabilities.model?.name || capabilities.model || '',
        device: (capabilities.devices || []).map((d) => d.name || d).join(', '),
      })
    : '';
}

onUnauthorized(() => {
  const dialog = byId('login'),
    token = byId('login-token');
  dialog.oncancel = (e) => e.preventDefault();
  byId('login-error').hidden = true;
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.querySelector('form').onsubmit = async (e) => {
      e.preventDefault();
      try {
        await api('POST', 'v1/session', { token: token.value });
      } catch {
        byId('login-error').hidden = false;
        token.select();
        return;
      }
      token.value = '';
      dialog.close();
      resolve();
    };
  });
});

function online(isOnline) {
  const banner = byId('offline');
  if (banner.hidden === isOnline) return;
  banner.hidden = isOnline;
  announce(t(isOnline ? 'online' : 'offline'));
  if (isOnline && !capabilities) start();
}

async function start() {
  try {
    capabilities = await api('GET', 'v1/capabilities');
  } catch {
    return online(false);
  }
  showAbout();
  composer.open(capabilities);
}

choose([memory.get('language'), ...navigator.languages].filter(Boolean));
byId('language').value = language();
translate(document);
showTheme();

const jobs = new Jobs({ again: (job) => composer.again(job), online });
const composer = new Composer(jobs);

byId('language').addEventListener('change', () => {
  memory.set('language', byId('language').value);
  choose([byId('language').value]);
  translate(document);
  showTheme();
  showAbout();
  composer.renderSettings();
  composer.render();
  jobs.render();
});

byId('consent').hidden = Boolean(memory.get('consent'));
byId('consent-ok').addEventListener('click', () => {
  memory.set('consent', true);
  byId('consent').hidden = true;
  byId('composer').querySelector('input').focus();
});

await start();
jobs.poll();
