// Small charts in SVG: stacked bars over time, and one bar of parts. Each has a summary in words and the same figures as a table for those who
// do not see it; colours come from the style sheet and never stand alone.

import { count, h, minute, s, time } from './dom.js';

const width = 600;
const height = 120;
const floor = 18;

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  for (const step of [1, 2, 5, 10]) if (step * power >= value) return step * power;
  return value;
}

// series: [{name, cls, of: (bucket) => number}], format: (number) => text
export function bars({ title, data, series, format = count }) {
  const buckets = data.buckets;
  const sums = buckets.map((bucket) => series.reduce((sum, one) => sum + one.of(bucket), 0));
  const most = nice(Math.max(1, ...sums));
  const totals = series.map((one) => `${one.name} ${format(buckets.reduce((sum, bucket) => sum + one.of(bucket), 0))}`);
  const step = width / Math.max(1, buckets.length);
  const shapes = [];
  buckets.forEach((bucket, i) => {
    let y = height - floor;
    for (const one of series) {
      const tall = (one.of(bucket) / most) * (height - floor - 14);
      if (tall <= 0) continue;
      y -= tall;
      shapes.push(s('rect', { class: one.cls, x: (i * step + 0.5).toFixed(2), y: y.toFixed(2), width: Math.max(1, step - 1).toFixed(2), height: tall.toFixed(2) },
        s('title', {}, `${time(data.fromMs + i * data.stepMs, false)}: ${one.name} ${format(one.of(bucket))}`)));
    }
  });
  const end = data.fromMs + data.stepMs * buckets.length;
  const summary = `${title}: ${totals.join(', ')}, from ${minute(data.fromMs)} to ${minute(end)}`;
  return h('figure', { class: 'chart' },
    h('figcaption', {}, h('strong', {}, title), h('span', { class: 'legend' }, series.map((one, i) =>
      h('span', {}, swatch(one.cls), totals[i])))),
    s('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': summary, preserveAspectRatio: 'none' },
      s('line', { class: 'axis', x1: 0, x2: width, y1: height - floor, y2: height - floor }),
      s('line', { class: 'grid', x1: 0, x2: width, y1: 14, y2: 14 }),
      shapes),
    h('div', { class: 'chart-ends', 'aria-hidden': 'true' }, h('span', {}, time(data.fromMs, false).slice(0, 8)), h('span', {}, `top: ${format(most)}`), h('span', {}, time(end, false).slice(0, 8))),
    h('details', { class: 'chart-table' }, h('summary', {}, 'The same as a table'), h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${title}, table` },
      h('table', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'From'), series.map((one) => h('th', { scope: 'col' }, one.name)))),
        h('tbody', {}, buckets.map((bucket, i) => (sums[i] === 0 ? null : h('tr', {}, h('th', { scope: 'row' }, time(data.fromMs + i * data.stepMs, false)),
          series.map((one) => h('td', {}, format(one.of(bucket))))))))))));
}

const swatch = (cls) => s('svg', { class: 'swatch', viewBox: '0 0 10 10', 'aria-hidden': 'true' }, s('rect', { class: cls, width: 10, height: 10, rx: 2 }));

// parts: [{name, cls, value}]
export function partsBar({ title, parts, format = count }) {
  const shown = parts.filter((part) => part.value > 0);
  const total = shown.reduce((sum, part) => sum + part.value, 0);
  let x = 0;
  const shapes = shown.map((part) => {
    const wide = (part.value / total) * width;
    const shape = s('rect', { class: part.cls, x: x.toFixed(2), y: 0, width: Math.max(1, wide - 1).toFixed(2), height: 14, rx: 2 });
    x += wide;
    return shape;
  });
  const words = shown.map((part) => `${part.name} ${format(part.value)}`);
  return h('figure', { class: 'parts' }, h('figcaption', {}, title),
    s('svg', { viewBox: `0 0 ${width} 14`, role: 'img', 'aria-label': `${title}: ${words.join(', ') || 'nothing'}`, preserveAspectRatio: 'none' },
      total === 0 ? s('rect', { class: 'c-none', width, height: 14, rx: 2 }) : shapes),
    h('span', { class: 'legend' }, shown.map((part, i) => h('span', {}, swatch(part.cls), words[i]))));
}

export const decisionSeries = [
  { name: 'allowed', cls: 'c-allow', of: (bucket) => bucket.allowed },
  { name: 'asked a person', cls: 'c-ask', of: (bucket) => bucket.escalated },
  { name: 'denied', cls: 'c-deny', of: (bucket) => bucket.denied },
];
export const tokenSeries = [
  { name: 'reused', cls: 'c-reused', of: (bucket) => bucket.cachedTokens },
  { name: 'read', cls: 'c-read', of: (bucket) => bucket.inputTokens - bucket.cachedTokens },
  { name: 'decoded', cls: 'c-decoded', of: (bucket) => bucket.outputTokens },
];
