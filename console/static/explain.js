// The form that asks what a send would meet, and the answer.
import { $, el, show, text } from './dom.js';
import * as words from './words.js';

const results = { pass: 'passes', decides: 'decides', skipped: 'not asked' };
const steps = { test_numbers: 'Test numbers', block_list: 'Block list', consent: 'Consent', numbers: 'Number rules', template: 'Template', allow_list: 'Allow list',
  client_address: 'Client address', detection: 'Detection', delays_and_limits: 'Delays and limits' };

export function explaining(ask) {
  $('explain').addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = $('explain').querySelector('button');
    button.disabled = true;
    try {
      const check = { number: $('ex-number').value.trim(), purpose: $('ex-purpose').value };
      if ($('ex-client').value.trim()) check.clientAddress = $('ex-client').value.trim();
      if ($('ex-account').value.trim()) check.account = $('ex-account').value.trim();
      const { explain, recent } = await ask(check);
      $('explained').replaceChildren(...answer(explain), ...earlier(recent.decisions));
      show($('explained'), true);
      show($('explain-error'), false);
      $('ex-number').value = ''; // the answer masks it, and so does the page
      $('explained').focus({ preventScroll: true });
      $('explained').scrollIntoView({ block: 'nearest' });
    } catch (problem) {
      show($('explained'), false);
      text($('explain-error'), problem.message);
      show($('explain-error'), true);
    }
    button.disabled = false;
  });
}

const badge = (name) => el('span', { class: `badge ${name}` }, name);

function answer({ answer: said, send, steps: asked, rules, lists, detection }) {
  const verdict = words.verdict(said.verdict);
  const would = { allow: 'It would be let through now', deny: 'It would be denied now', challenge: 'It would be challenged now' }[verdict];
  const wait = said.retryAfter && parseFloat(said.retryAfter) > 0 ? `; it fits in ${words.length(said.retryAfter)}` : '';
  const why = said.reason ? `: ${words.reason(said.reason)}` : '';
  const who = [send.number, words.country(send.country), send.numberType.replaceAll('_', ' '), send.knownGood ? 'verified lately' : 'not verified lately',
    send.account ? `account ${send.account}` : '', send.clientAddress ? 'with a client address' : 'without a client address'].filter(Boolean).join(', ');
  const parts = [
    el('p', { class: 'answer' }, badge(verdict), ` ${would}${why}${wait}.`),
    el('p', { class: 'muted' }, who),
    el('h3', {}, 'Who was asked, in order'),
    el('ol', { class: 'steps' }, ...asked.map((s) => el('li', { class: s.result }, badge(results[s.result] ?? s.result), el('span', {}, steps[s.name] ?? s.name), el('span', {}, s.detail)))),
  ];
  const apply = rules.filter((r) => r.applies);
  if (apply.length) {
    parts.push(el('h3', {}, 'Rules that apply'), table(['Rule', 'Key', 'Held', 'Says'], apply.map((r) => [
      el('span', {}, words.reason(`${r.kind}:${r.rule}`), r.mode === 'shadow' ? ' (shadow)' : '', r.decides ? ' ' : '', r.decides ? el('span', { class: 'badge decides' }, 'decides') : null),
      el('code', {}, r.key), held(r), `${words.verdict(r.verdict)}${r.retryAfter ? `, fits in ${words.length(r.retryAfter)}` : ''}`])));
  }
  if (lists.length) {
    parts.push(el('h3', {}, 'On lists'), table(['List', 'Value', 'Why'], lists.map((l) => [l.list, el('code', {}, l.value), [l.reason, l.author].filter(Boolean).join(', by ')])));
  }
  if (detection) {
    const evidence = detection.evidence.map((e) => [`${e.scope.replaceAll('_', ' ')}`, el('code', {}, e.subject), e.threshold ? `${e.statistic.toFixed(1)} of ${e.threshold.toFixed(1)}` : '',
      [e.detail, e.blockedUntil ? `blocked until ${words.clock(e.blockedUntil)}: ${words.kind(e.kind)}` : ''].filter(Boolean).join('; ')]);
    parts.push(el('h3', {}, `What detection knows `, el('span', { class: 'muted' }, `level ${detection.level}, advises ${detection.advice}`)));
    parts.push(evidence.length ? table(['Shared', 'With', 'Evidence', 'Which is'], evidence) : el('p', { class: 'muted' }, detection.looks ? 'Nothing yet.' : 'It does not look at this send.'));
  }
  return parts;
}

function held(r) {
  if (r.kind === 'spend') return `${words.money(r.held, r.currency)} of ${words.money(r.limit, r.currency)}`;
  if (r.kind === 'delay') return `${words.count(r.held)} sends`;
  return `${words.count(r.held)} of ${words.count(r.limit)} in ${words.length(r.window)}`;
}

// earlier are decisions about the same number.
function earlier(decisions) {
  const title = el('h3', {}, 'What was decided about this number lately');
  if (!decisions.length) return [title, el('p', { class: 'muted' }, 'Nothing that is still remembered.')];
  return [title, table(['When', 'Verdict', 'Why', 'Account'], decisions.map((d) => [words.date(d.at), badge(words.verdict(d.verdict)), d.reason ? words.reason(d.reason) : '', d.account]))];
}

function table(head, rows) {
  return el('table', {}, el('thead', {}, el('tr', {}, ...head.map((h) => el('th', { scope: 'col' }, h)))),
    el('tbody', {}, ...rows.map((r) => el('tr', {}, ...r.map((c) => el('td', {}, c))))));
}
