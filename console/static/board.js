// The sections of the board. Each draws what the sidecar says is new of it.
import { Charts } from './charts.js';
import { $, el, list, set, show, text } from './dom.js';
import * as words from './words.js';
import { drawMap } from './map.js';

export class Board {
  #charts = new Charts();
  #state = { gate: {}, attacks: { attacks: [] } };
  #allBlocks = false;
  #told = null; // attacks that were announced
  #actions;

  constructor(actions) {
    this.#actions = actions;
    this.#releasing();
    $('blocks-more').addEventListener('click', () => {
      this.#allBlocks = !this.#allBlocks;
      this._blocks(this.#state.blocks);
    });
  }

  restyle() { this.#charts.restyle(); }

  // take draws what is new. fresh says that it is the first message of a connection.
  take(news, fresh) {
    this.#charts.add(news.seconds, fresh);
    for (const part of ['gate', 'reasons', 'attacks', 'blocks', 'keys', 'rules', 'budgets']) {
      if (!news[part]) continue;
      this.#state[part] = news[part];
      this[`_${part}`](news[part]);
    }
    this.#headline();
    this.#tiles();
  }

  #money(millionths) { return words.money(millionths, this.#state.gate.currency); }

  #headline() {
    const attacks = this.#state.attacks.attacks.filter((a) => !a.shadow && !words.harmless(a.kind));
    const now = this.#charts.last(10);
    const asked = Number(this.#state.gate.allowed) + Number(this.#state.gate.denied) + Number(this.#state.gate.challenged);
    const head = $('headline');
    head.classList.toggle('alarm', attacks.length > 0);
    let says = 'All calm';
    let more = `${words.rate(now.checks)} checks a second. Detection stops nobody.`;
    if (attacks.length) {
      // One attack shows in several ways: what is about one country is told as one.
      const worst = attacks.filter((a, i) => attacks.findIndex((b) => b.country === a.country) === i);
      const named = (a) => (a.country ? `${words.kind(a.kind)}, ${words.country(a.country)}` : words.kind(a.kind));
      says = worst.length > 1 ? `${worst.length} attacks under way: ${named(worst[0])}, and more` : `Under attack: ${named(worst[0])}`;
      const stopped = attacks.reduce((n, a) => n + Number(a.stopped), 0);
      const saved = attacks.reduce((n, a) => n + Number(a.saved), 0);
      more = `${words.count(stopped)} sends stopped${saved ? `, ${this.#money(saved)} not spent` : ''}. ${words.rate(now.checks)} checks a second.`;
    } else if (!asked && !now.checks) {
      says = 'Waiting for the first check';
      more = 'Nobody has asked yet. To see it work: sendgate simulate --speedup 60 --attack ait_range --addr, and where gRPC listens.';
    }
    text(head, says);
    text($('subline'), more);
    document.title = attacks.length ? `(${attacks.length}) Sendgate` : 'Sendgate';

    const names = attacks.map((a) => `${words.kind(a.kind)}${a.country ? ` in ${words.country(a.country)}` : ''}`);
    if (this.#told !== null) {
      const fresh = names.filter((n) => !this.#told.includes(n));
      if (fresh.length) text($('news'), `New: ${fresh.join('; ')}`);
      else if (!names.length && this.#told.length) text($('news'), 'The attack is over.');
    }
    this.#told = names;
  }

  #tiles() {
    const now = this.#charts.last(10);
    const gate = this.#state.gate;
    const refused = now.denied + now.challenged;
    const tiles = [
      ['Checks a second', words.rate(now.checks), now.failed ? `${words.rate(now.failed)} failed a second` : 'mean of 10 s'],
      ['Let through', now.checks ? words.percent(now.allowed / now.checks) : '–', `${words.count(gate.allowed ?? 0)} since the start`],
      ['Not let through', `${words.rate(refused)} /s`, `${words.rate(now.denied)} denied, ${words.rate(now.challenged)} challenged`],
      ['99 of 100 within', words.took(now.p99), `the middle one ${words.took(now.p50)}`],
    ];
    if (gate.currency) tiles.push(['Not spent', this.#money(gate.stopped), `${this.#money(gate.spent)} spent since the start`]);
    list($('tiles'), tiles, (t) => t[0], () => el('div', {}, el('dt'), el('dd'), el('dd')), (tile, t) => t.forEach((s, i) => text(tile.children[i], s)));
  }

  _gate(gate) {
    list($('warnings'), gate.warnings, (w) => w, (w) => el('li', {}, `⚠ ${w}`), () => {});
    const store = Number(gate.storeCapacity) ? `${words.count(gate.storeOccupied)} of ${words.count(gate.storeCapacity)} places` : `${words.count(gate.storeOccupied)} keys`;
    const feedback = { reporting: 'codes that are entered are reported', unknown: 'no entered code was reported yet', silent: 'nobody reports entered codes' }[gate.feedback] ?? gate.feedback;
    const facts = [
      ['Policy', `${gate.policyVersion} from ${gate.policySource || 'the built-in default'}`],
      ['In force since', words.date(gate.policySince)],
      ['Detection', `${gate.detectLevel}; ${feedback}`],
      ['Store', store],
      ['Sidecar', `${gate.version}, running since ${words.date(gate.started)}`],
    ];
    if (gate.policyError) facts.splice(2, 0, ['The newest file was refused', gate.policyError]);
    list($('policy'), facts, (f) => f[0], (f) => el('div', {}, el('dt', {}, f[0]), el('dd', { class: f[0].startsWith('The newest') ? 'error' : null })), (div, f) => text(div.lastChild, f[1]));
    for (const column of document.querySelectorAll('.money')) show(column, Boolean(gate.currency));
    if (this.#state.rules) this._rules(this.#state.rules);
  }

  _reasons({ reasons }) {
    const lately = reasons.filter((r) => r.denied + r.challenged > 0).slice(0, 10);
    const most = Math.max(1, ...lately.map((r) => r.denied + r.challenged));
    show($('reasons-none'), !lately.length);
    list($('reasons'), lately, (r) => r.reason, (r) => el('li', { title: r.reason },
      el('div', { class: 'what' }, el('span', {}, words.reason(r.reason)), el('b')), el('small'), bar()), (li, r) => {
      text(li.querySelector('b'), words.count(r.denied + r.challenged));
      const said = r.challenged && r.denied ? `${words.count(r.denied)} denied, ${words.count(r.challenged)} challenged` : r.challenged ? 'challenged' : 'denied';
      text(li.querySelector('small'), `${said}; ${words.count(r.total)} since the start`);
      fill(li.lastChild, (r.denied + r.challenged) / most, words.family(r.reason));
    });
  }

  _attacks({ attacks }) {
    show($('attacks-none'), !attacks.length);
    list($('attacks'), attacks, (a) => `${a.kind} ${a.country} ${a.shadow}`, (a) => el('article', { class: `card attack ${words.harmless(a.kind) ? 'harmless' : ''} ${a.shadow ? 'shadow' : ''}` },
      el('h3', {}, `${words.kind(a.kind)}${a.country ? `, ${words.country(a.country)}` : ''} `, a.shadow ? el('span', { class: 'badge shadow' }, 'shadow: stops nothing') : null, el('span', { class: 'since muted' })),
      el('p', { class: 'muted' }, words.kindSays(a.kind)),
      el('p', { class: 'figures' }),
      el('div', { class: 'inner' }, el('ul', { class: 'evidence' }), el('div', {}, el('div', { class: 'maps' }), el('p', { class: 'hint' })))), (card, a) => {
      const figures = [['stopped', words.count(a.stopped)], ['blocks', words.count(a.blocks)], ['sessions', words.count(a.sessions)],
        ['verified', words.count(a.verified)], ['expected to verify', words.count(a.expected)]];
      if (Number(a.saved)) figures.splice(1, 0, ['not spent', this.#money(a.saved)]);
      list(card.querySelector('.figures'), figures, (f) => f[0], (f) => el('span', {}, el('b'), ` ${f[0]}`), (node, f) => text(node.firstChild, f[1]));
      text(card.querySelector('.since'), `since ${words.date(a.since)}`);
      list(card.querySelector('.evidence'), a.evidence.slice(0, 5), (e) => e.split(':')[0], () => el('li'), text);
      list(card.querySelector('.maps'), a.maps, (m) => m.range, () => el('figure', {}, el('figcaption', {}, el('code'))), drawMap);
      text(card.querySelector('.hint'), a.maps.length ? `A square is ${words.count(10 ** a.maps[0].masked)} numbers: down the next digit, across the one after. The redder, the more was asked for; outlined is blocked.` : '');
    });
  }

  _blocks({ blocks, total }) {
    show($('blocks'), blocks.length > 0);
    show($('blocks-none'), !blocks.length);
    text($('blocks-count'), total > blocks.length ? `the ${blocks.length} that stop most of ${words.count(total)}` : '');
    const more = blocks.length - few;
    show($('blocks-more'), more > 0);
    set($('blocks-more'), { 'aria-expanded': String(this.#allBlocks) });
    text($('blocks-more'), this.#allBlocks ? 'Show fewer' : `Show ${words.count(more)} more`);
    list($('blocks').tBodies[0], this.#steady(this.#allBlocks ? blocks : blocks.slice(0, few)), (b) => b.id, (b) => el('tr', {},
      el('td', {}, el('code', {}, subject(b)), ' ', b.shadow ? el('span', { class: 'badge shadow' }, 'shadow') : null, el('small', {}, words.kind(b.signal.kind))),
      el('td', { class: 'number' }), el('td', { class: 'number optional' }),
      el('td', { class: 'number' }, el('button', { type: 'button', 'aria-label': `Release ${subject(b)}`, click: () => this.#ask(b) }, 'Release'))), (tr, b) => {
      text(tr.cells[1], words.count(b.stopped));
      text(tr.cells[2], words.clock(b.until));
    });
  }

  // steady keeps the rows where they are while somebody is about to press a button in them.
  #steady(blocks) {
    const body = $('blocks').tBodies[0];
    if (!body.matches(':hover, :focus-within')) return blocks;
    const place = new Map([...body.rows].map((row, i) => [row.dataset.key, i]));
    return blocks.toSorted((a, b) => (place.get(a.id) ?? 1e9) - (place.get(b.id) ?? 1e9));
  }

  _keys({ keys }) {
    show($('keys'), keys.length > 0);
    show($('keys-none'), !keys.length);
    const seen = new Map(); // two numbers can look the same, masked
    const rows = keys.slice(0, few).map((k) => {
      const name = `${k.rule} ${k.key}`;
      seen.set(name, (seen.get(name) ?? 0) + 1);
      return { ...k, name: `${name} ${seen.get(name)}` };
    });
    list($('keys').tBodies[0], rows, (k) => k.name, (k) => el('tr', {}, el('td', {}, el('code', {}, k.key)), el('td', {}, words.reason(k.rule)), el('td', { class: 'number' })),
      (tr, k) => text(tr.cells[2], words.count(k.refused)));
  }

  _rules({ rules }) {
    const money = Boolean(this.#state.gate.currency);
    list($('rules').tBodies[0], rules, (r) => r.name, (r) => el('tr', {},
      el('td', {}, words.family(r.name) === 'detection' ? words.kind(r.name.split(':')[1]) : words.reason(r.name)),
      el('td', { class: 'optional muted' }), el('td', {}, el('span')), el('td', { class: 'number' }), el('td', { class: 'number money', hidden: !money }), el('td', { class: 'number optional' })), (tr, r) => {
      text(tr.cells[1], words.family(r.name) === 'detection' ? words.kindSays(r.name.split(':')[1]) : r.says);
      set(tr.cells[2].firstChild, { class: `badge ${r.mode}` });
      text(tr.cells[2].firstChild, r.mode);
      text(tr.cells[3], words.count(r.refused));
      text(tr.cells[4], this.#money(r.saved));
      text(tr.cells[5], r.mode === 'shadow' || r.mode === 'candidate' ? words.count(r.verified) : '');
      tr.cells[3].classList.toggle('zero', r.refused === '0');
      tr.cells[4].classList.toggle('zero', r.saved === '0');
    });
  }

  _budgets({ budgets }) {
    const any = this.#state.rules?.rules.some((r) => r.name.startsWith('spend:'));
    show($('budgets-section'), Boolean(any));
    show($('budgets-none'), !budgets.length);
    list($('budgets'), budgets, (b) => `${b.rule} ${b.key}`, (b) => el('li', {}, el('div', { class: 'what' }, el('b', {}, b.key || b.rule), ' ', b.mode === 'shadow' ? el('span', { class: 'badge shadow' }, 'shadow') : null),
      el('span', {}), bar(), el('small', { class: 'muted' }, `${b.rule}: ${b.says}`)), (li, b) => {
      const share = Number(b.spent) / Math.max(1, Number(b.budget));
      text(li.children[1], `${this.#money(b.spent)} of ${this.#money(b.budget)} (${words.percent(share)})`);
      fill(li.children[2], share, share >= 1 ? 'alarm' : Number(b.warnAt) && Number(b.spent) >= Number(b.warnAt) ? 'limit' : 'allowed', Number(b.warnAt) / Math.max(1, Number(b.budget)));
    });
  }

  // Releasing a block.

  #block = null;

  #ask(block) {
    this.#block = block;
    text($('release-what'), `${words.kind(block.signal.kind)}: ${subject(block)}, ${words.count(block.stopped)} sends stopped.`);
    $('release-reason').value = '';
    $('release-author').value = sessionStorage.getItem('author') ?? '';
    show($('release-who'), !this.#actions.operator());
    $('release-author').required = !this.#actions.operator();
    show($('release-error'), false);
    $('release').showModal();
    $('release-reason').focus();
  }

  #releasing() {
    $('release-no').addEventListener('click', () => $('release').close());
    $('release').querySelector('form').addEventListener('submit', async (event) => {
      event.preventDefault();
      const author = this.#actions.operator() ? '' : $('release-author').value.trim();
      $('release-yes').disabled = true;
      try {
        await this.#actions.release({ id: this.#block.id, reason: $('release-reason').value.trim(), author });
        sessionStorage.setItem('author', author);
        $('release').close();
        text($('news'), `Released ${subject(this.#block)}.`);
      } catch (problem) {
        text($('release-error'), problem.message);
        show($('release-error'), true);
      }
      $('release-yes').disabled = false;
    });
  }
}

// few is how many rows a table begins with.
const few = 8;

const subject = (block) => block.signal.subject;

const bar = () => el('svg', { class: 'bar', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, el('rect', { height: 6 }), el('line', { y1: 0, y2: 6, visibility: 'hidden' }));

function fill(svg, share, style, mark) {
  set(svg.children[0], { width: Math.max(0, Math.min(100, share * 100)).toFixed(1), class: style });
  if (mark) set(svg.children[1], { x1: mark * 100, x2: mark * 100, visibility: 'visible' });
}
