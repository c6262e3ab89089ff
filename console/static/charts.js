// The two charts over time.
import uPlot from './vendor/uPlot.esm.js';
import { $, el, list, text } from './dom.js';
import { rate, took } from './words.js';

const shown = 600; // seconds
const step = 5; // seconds a point stands for: calm to look at, and still live

// What became of checks, from the bottom of the stack to its top.
const fates = [
  { id: 'allowed', label: 'Let through', of: (s) => s.allowed },
  { id: 'other', label: 'Lists, consent, other', of: (s) => s.challenged + s.denied - s.byLimit - s.byDetection - s.byBudget },
  { id: 'budget', label: 'Stopped by a budget', of: (s) => s.byBudget },
  { id: 'limit', label: 'Stopped by a limit', of: (s) => s.byLimit },
  { id: 'detection', label: 'Stopped by detection', of: (s) => s.byDetection },
];
const times = [
  { id: 'p99', label: '99 of 100 within', of: (s) => s.p99 },
  { id: 'p50', label: 'the middle one', of: (s) => s.p50 },
];

// resolved is a colour of the style sheet as a canvas understands it.
function resolved(name) {
  const probe = $('board');
  const before = probe.style.color;
  probe.style.color = `var(--${name})`;
  const color = getComputedStyle(probe).color;
  probe.style.color = before;
  return color;
}

const paler = (rgb, alpha) => rgb.replace(/^rgb\((.*)\)$/, `rgb($1 / ${alpha})`).replaceAll(',', '');

// points puts seconds together into steps: [times, values of each fate, values of each time].
function points(seconds) {
  const now = seconds.length ? Number(seconds.at(-1).at) : Math.floor(Date.now() / 1000);
  const first = Math.floor(now / step) * step - shown;
  const n = shown / step + 1;
  const at = Array.from({ length: n }, (_, i) => first + i * step);
  const seen = new Array(n).fill(0);
  const sums = fates.map(() => new Array(n).fill(0));
  const worst = times.map(() => new Array(n).fill(null));
  for (const s of seconds) {
    const i = Math.floor((Number(s.at) - first) / step);
    if (i < 0 || i >= n) continue;
    seen[i]++;
    fates.forEach((f, k) => { sums[k][i] += f.of(s); });
    times.forEach((f, k) => { if (f.of(s)) worst[k][i] = Math.max(worst[k][i] ?? 0, f.of(s)); });
  }
  return { at, fates: sums.map((row) => row.map((v, i) => (seen[i] ? v / seen[i] : null))), times: worst };
}

// powersOfTen leaves out the lines between them.
const powersOfTen = (u, splits) => splits.map((v) => (Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6 ? v : null));

export class Charts {
  #seconds = [];
  #hidden = new Set();
  #verdicts = null;
  #latency = null;
  #points = points([]);

  constructor() {
    new ResizeObserver(() => this.#resize()).observe($('verdicts'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.restyle());
    this.#legends(null);
  }

  // add takes new seconds; with fresh they are all there are.
  add(seconds, fresh) {
    if (fresh) this.#seconds = [];
    this.#seconds.push(...seconds);
    this.#seconds.splice(0, this.#seconds.length - shown - step);
    this.#points = points(this.#seconds);
    this.#draw();
  }

  // last is the mean second of the last few.
  last(n) {
    const recent = this.#seconds.slice(-n);
    const mean = (of) => (recent.length ? recent.reduce((all, s) => all + of(s), 0) / recent.length : 0);
    return { checks: mean((s) => s.allowed + s.challenged + s.denied), allowed: mean((s) => s.allowed), denied: mean((s) => s.denied), challenged: mean((s) => s.challenged),
      failed: mean((s) => s.failed), p99: Math.max(0, ...recent.map((s) => s.p99)), p50: Math.max(0, ...recent.map((s) => s.p50)) };
  }

  // restyle draws again in the colours of the theme.
  restyle() {
    this.#verdicts?.destroy();
    this.#latency?.destroy();
    this.#verdicts = this.#latency = null;
    this.#draw();
  }

  #stacked() {
    const sum = this.#points.at.map(() => 0);
    const rows = fates.map((f, k) => this.#points.fates[k].map((v, i) => {
      if (v === null) return null;
      if (!this.#hidden.has(f.id)) sum[i] += v;
      return sum[i];
    }));
    return [this.#points.at, ...rows];
  }

  #draw() {
    if (!$('verdicts').clientWidth) return;
    if (!this.#verdicts) this.#make();
    this.#verdicts.setData(this.#stacked());
    this.#latency.setData([this.#points.at, ...this.#points.times]);
    if (this.#verdicts.cursor.idx == null) this.#legends(null);
  }

  #make() {
    const axis = (values) => ({ stroke: resolved('muted'), font: '12px system-ui, sans-serif', size: values ? 54 : 28, gap: 4, space: values ? 34 : 70,
      grid: { stroke: resolved('line'), width: 1, show: Boolean(values) }, ticks: { show: false }, values });
    const clockTimes = (u, splits) => splits.map((t) => new Date(t * 1000).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }));
    const common = (host, tall) => ({ width: host.clientWidth, height: tall, legend: { show: false }, padding: [8, 20, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false }, sync: { key: 'board' } },
      hooks: { setCursor: [(u) => this.#legends(u.cursor.idx)] } });
    this.#verdicts = new uPlot({
      ...common($('verdicts'), 220),
      scales: { x: { time: true }, y: { range: (u, min, max) => [0, Math.max(1, max * 1.08)] } },
      axes: [{ ...axis(), values: clockTimes }, axis((u, splits) => splits.map((v) => rate(v)))],
      series: [{}, ...fates.map((f) => ({ label: f.label, stroke: resolved(f.id), width: 1, fill: paler(resolved(f.id), f.id === 'allowed' ? 0.35 : 0.8), points: { show: false } }))],
      bands: fates.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })),
    }, this.#stacked(), $('verdicts'));
    this.#latency = new uPlot({
      ...common($('latency'), 110),
      // By powers of ten: one slow second must not press the others flat.
      scales: { x: { time: true }, y: { distr: 3, range: (u, min, max) => [10 ** Math.floor(Math.log10(min || 1e-5)), 10 ** Math.ceil(Math.log10(max || 1e-4) + 0.05)] } },
      axes: [{ ...axis(), values: clockTimes }, { ...axis((u, splits) => splits.map((v) => (v === null ? '' : took(v)))), space: 20, filter: powersOfTen, grid: { stroke: resolved('line'), width: 1, filter: powersOfTen } }],
      series: [{}, ...times.map((t) => ({ label: t.label, stroke: resolved(t.id === 'p50' ? 'accent' : 'other'), width: 1.5, points: { show: false }, spanGaps: true }))],
    }, [this.#points.at, ...this.#points.times], $('latency'));
    for (const host of [$('verdicts'), $('latency')]) host.querySelector('.uplot').setAttribute('aria-hidden', 'true'); // the legends say it
  }

  #resize() {
    if (!this.#verdicts) return this.#draw();
    for (const [chart, host] of [[this.#verdicts, $('verdicts')], [this.#latency, $('latency')]]) {
      if (chart.width !== host.clientWidth) chart.setSize({ width: host.clientWidth, height: chart.height });
    }
  }

  // legends say the values at a place, or the newest whole step.
  #legends(idx) {
    const n = this.#points.at.length;
    let i = idx ?? n - 1;
    while (idx == null && i > n - 4 && this.#points.fates[0][i] == null) i--;
    list($('verdicts-legend'), fates, (f) => f.id, (f) => el('li', {}, el('button', { type: 'button', 'aria-pressed': 'true', click: () => this.#toggle(f.id) },
      el('i', { class: f.id }), el('span', {}, f.label), el('b', {}))), (li, f) => {
      text(li.querySelector('b'), rate(this.#points.fates[fates.indexOf(f)][i] ?? 0));
      li.firstChild.setAttribute('aria-pressed', String(!this.#hidden.has(f.id)));
    });
    list($('latency-legend'), times, (t) => t.id, (t) => el('li', {}, el('span', {}, el('i', { class: t.id }), t.label, el('b', {}))), (li, t) => {
      text(li.querySelector('b'), took(this.#points.times[times.indexOf(t)][i]));
    });
  }

  #toggle(id) {
    if (!this.#hidden.delete(id)) this.#hidden.add(id);
    this.#draw();
    this.#legends(null);
  }
}
