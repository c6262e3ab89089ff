// The console: who is at it, what comes in, and where it goes.
import { Board } from './board.js';
import { $, show, text } from './dom.js';
import { explaining } from './explain.js';
import { span } from './words.js';

let session = null; // {known, operator, token, login}
let stream = null;
let heard = 0; // when the sidecar last said something
let again = 0; // timer of the next try

// call asks the sidecar and throws its words where it refuses.
async function call(path, body) {
  const request = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json', 'X-Sendgate-Csrf': session?.token ?? '' } };
  let answer;
  try {
    answer = await fetch(path, { ...request, cache: 'no-store' });
  } catch {
    throw new Error('The sidecar does not answer.');
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  if (answer.status === 401 && path !== 'login') enter();
  const details = (said.violations ?? []).map((v) => `${v.field}: ${v.description}`).join('; ');
  throw Object.assign(new Error(details || said.detail || `The sidecar answered ${answer.status}.`), { status: answer.status });
}

const board = new Board({ release: (body) => call('release', body), operator: () => session?.operator ?? '' });
explaining((body) => call('explain', body));

// enter finds out who is here, and begins to listen.
async function enter() {
  clearTimeout(again);
  close();
  try {
    session = await call('session');
  } catch (problem) {
    if (problem.status === 403) return link(problem.message, 'lost');
    return retry();
  }
  if (!session.known) {
    link('Not logged in', '');
    show($('login'), true);
    for (const part of ['board', 'logout', 'to-explain']) show($(part), false);
    $('key').focus();
    return;
  }
  show($('login'), false);
  for (const part of ['board', 'to-explain']) show($(part), true);
  show($('logout'), session.login);
  listen();
}

function listen() {
  link('Connecting', '');
  let fresh = true;
  stream = new EventSource('events');
  stream.onopen = () => { fresh = true; };
  stream.onmessage = (event) => {
    heard = Date.now();
    link('Live', 'live');
    board.take(JSON.parse(event.data), fresh);
    fresh = false;
  };
  stream.onerror = () => {
    link('Reconnecting', 'lost');
    if (stream?.readyState === EventSource.CLOSED) retry(); // refused: by a restart, or because the login ended
  };
}

function close() {
  stream?.close();
  stream = null;
}

function retry() {
  close();
  link('Reconnecting', 'lost');
  clearTimeout(again);
  again = setTimeout(enter, 2000);
}

// link says how the connection is.
function link(words, state) {
  text($('link'), words);
  $('link').className = `pill ${state}`;
  $('board').classList.toggle('stale', state === 'lost');
}

setInterval(() => {
  const silent = (Date.now() - heard) / 1000;
  if (stream && heard && silent > 5) link(`Last heard ${span(silent)} ago`, 'lost');
  if (stream && heard && silent > 20) retry(); // a connection that nobody ended
}, 1000);

// A page that nobody looks at costs nothing.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    close();
    clearTimeout(again);
  } else if (!stream) enter();
});

$('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const key = $('key').value;
  try {
    session = await call('login', { key });
    show($('login-error'), false);
    $('key').value = '';
    await enter();
    $('main').focus({ preventScroll: true });
  } catch (problem) {
    text($('login-error'), problem.message);
    show($('login-error'), true);
    $('key').select();
  }
});

$('logout').addEventListener('click', async () => {
  await call('logout', {}).catch(() => {});
  location.reload();
});

const themes = ['auto', 'light', 'dark'];
function theme(name) {
  if (name === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  text($('theme'), `Theme: ${name}`);
  localStorage.setItem('theme', name);
  board.restyle();
}
$('theme').addEventListener('click', () => theme(themes[(themes.indexOf(localStorage.getItem('theme') ?? 'auto') + 1) % themes.length]));
theme(themes.includes(localStorage.getItem('theme')) ? localStorage.getItem('theme') : 'auto');

enter();
