// The map of a number range: a hundred neighbouring ranges, ten a row, the more was asked for the hotter.
import { el, set, text } from './dom.js';
import { count } from './words.js';

const cell = 18;
const gap = 1.5;
const edge = 18;

export function drawMap(figure, map) {
  let svg = figure.querySelector('svg');
  if (!svg) {
    svg = el('svg', { class: 'map', role: 'img', viewBox: `0 0 ${edge + 10 * cell + 10} ${edge + 10 * cell + 10}` });
    for (let i = 0; i < 10; i++) {
      svg.append(el('text', { x: edge + i * cell + cell / 2, y: 11, 'text-anchor': 'middle' }, String(i)));
      svg.append(el('text', { x: 6, y: edge + i * cell + cell / 2 + 3 }, String(i)));
    }
    for (let i = 0; i < 100; i++) {
      const place = { x: edge + (i % 10) * cell + gap / 2, y: edge + Math.floor(i / 10) * cell + gap / 2, width: cell - gap, height: cell - gap, rx: 2.5 };
      svg.append(el('rect', place), el('rect', { ...place, class: 'hot', 'fill-opacity': 0 }, el('title')));
    }
    svg.append(el('rect', { class: 'whole', x: edge - 2, y: edge - 2, width: 10 * cell + 4, height: 10 * cell + 4, rx: 4 }));
    figure.append(svg);
  }
  const most = Math.max(1, ...map.asked);
  const blocked = new Set(map.blocked);
  const front = map.range.slice(0, map.range.length - map.masked - 2);
  const stars = '*'.repeat(map.masked);
  svg.querySelectorAll('rect.hot, rect.hot.blocked').forEach((rect, i) => {
    // The square root shows the little beside the much.
    set(rect, { 'fill-opacity': map.asked[i] ? (0.12 + 0.88 * Math.sqrt(map.asked[i] / most)).toFixed(2) : 0, class: blocked.has(i) && blocked.size < 100 ? 'hot blocked' : 'hot' });
    text(rect.firstChild, `${front}${String(i).padStart(2, '0')}${stars}: ${count(map.asked[i])} asked, ${count(map.refused[i])} stopped${blocked.has(i) ? ', blocked' : ''}`);
  });
  set(svg.querySelector('.whole'), { visibility: blocked.size === 100 ? 'visible' : 'hidden' });
  const busiest = map.asked.indexOf(Math.max(...map.asked));
  const hit = map.asked.filter((n) => n > 0).length;
  set(svg, { 'aria-label': `Map of ${map.range}: ${hit} of its 100 parts were asked for, ${front}${String(busiest).padStart(2, '0')}${stars} most with ${count(map.asked[busiest])} sends; ${blocked.size} are blocked` });
  text(figure.querySelector('figcaption code'), map.range);
}
