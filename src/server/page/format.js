import { language, t } from './strings.js';

export function number(value, digits = 0) {
  return new Intl.NumberFormat(language(), { maximumFractionDigits: digits }).format(value);
}

function significant(value) {
  return number(value, value < 9.95 ? 2 : value < 99.5 ? 1 : 0);
}

export function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let k = 0;
  for (; value >= 999.5 && k < units.length - 1; k++) value /= 1000;
  return `${k ? significant(value) : number(value)} ${units[k]}`;
}

/* "3.1 s", "42 s", "1 min 2 s", "2 h 5 min" */
export function seconds(value) {
  if (value < 9.95) return t('seconds', { s: number(value, 1) });
  const s = Math.round(value);
  if (s < 60) return t('seconds', { s });
  if (s < 3600) return t('minutes', { m: Math.floor(s / 60), s: s % 60 });
  return t('hours', { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
}

/* "0:07", "1:02:03" */
export function clock(value) {
  const s = Math.floor(value);
  const two = (n) => String(n).padStart(2, '0');
  const h = Math.floor(s / 3600);
  return h ? `${h}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

export const percent = (value) => `${number(value)} %`;

export function moment(rfc3339) {
  return new Intl.DateTimeFormat(language(), { dateStyle: 'medium', timeStyle: 'short' }).format(
    new Date(rfc3339),
  );
}
