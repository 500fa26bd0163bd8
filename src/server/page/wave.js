/* A recording as a drawing of how loud it is. */

const bars = 72;
const svg = 'http://www.w3.org/2000/svg';

async function loudness(source, signal) {
  const bytes = await (source instanceof Blob ? source : await fetch(source, { signal })).arrayBuffer();
  const decoded = await new OfflineAudioContext(1, 1, 22050).decodeAudioData(bytes);
  const samples = decoded.getChannelData(0);
  const width = samples.length / bars;
  return Array.from({ length: bars }, (_, k) => {
    const part = samples.subarray(Math.floor(k * width), Math.floor((k + 1) * width));
    return Math.sqrt(part.reduce((sum, x) => sum + x * x, 0) / Math.max(1, part.length));
  });
}

/* An <svg>, or null where the browser cannot decode it. */
export async function wave(source, signal) {
  const levels = await loudness(source, signal).catch(() => null);
  if (!levels || signal.aborted) return null;
  const top = Math.max(...levels, 1e-6);
  const e = document.createElementNS(svg, 'svg');
  e.setAttribute('class', 'wave');
  e.setAttribute('viewBox', `0 0 ${bars * 4} 100`);
  e.setAttribute('preserveAspectRatio', 'none');
  e.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(svg, 'path');
  path.setAttribute(
    'd',
    levels
      .map((level, k) => {
        const h = Math.max(1.5, 96 * Math.sqrt(level / top));
        return `M${4 * k + 0.6} ${50 - h / 2}h2.8v${h}h-2.8z`;
      })
      .join(''),
  );
  e.append(path);
  return e;
}
