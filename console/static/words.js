// How things are said.

const locale = 'en';
const whole = new Intl.NumberFormat(locale);
const small = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const regions = new Intl.DisplayNames([locale], { type: 'region' });

export const count = (n) => whole.format(Math.round(Number(n)));

// rate is so many a second.
export const rate = (n) => (n >= 100 ? whole.format(Math.round(n)) : small.format(n));

export const percent = (share) => (share >= 0.9995 || share === 0 ? Math.round(share * 100) : small.format(share * 100)) + ' %';

// took is a time in seconds that a machine needs.
export function took(seconds) {
  if (!seconds) return '–';
  if (seconds < 1e-3) return `${small.format(seconds * 1e6)} µs`;
  return seconds < 1 ? `${small.format(seconds * 1e3)} ms` : `${small.format(seconds)} s`;
}

// money is millionths of a currency.
export function money(millionths, currency) {
  if (!currency) return '';
  return new Intl.NumberFormat(locale, { style: 'currency', currency, currencyDisplay: 'code' }).format(Number(millionths) / 1e6);
}

// span is a time in seconds that people wait.
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  return s < 48 * 3600 ? `${small.format(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

// length is a protobuf duration, such as "12.5s".
export const length = (duration) => (duration ? span(parseFloat(duration)) : '');

export const clock = (time) => new Date(time).toLocaleTimeString(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
export const date = (time) => new Date(time).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' });

export function country(iso) {
  if (!iso) return '';
  try {
    return regions.of(iso);
  } catch {
    return iso;
  }
}

const kinds = {
  ip_fanout: ['One address asks for many numbers', 'An address or network asks for more numbers than its verified sends earn.'],
  victim_flood: ['One number is flooded', 'One number is asked for from many strange networks.'],
  ait_range: ['Number pumping', 'Neighbouring numbers are asked for and do not verify.'],
  country_anomaly: ['Strangers of a country do not verify', 'Only strangers to the country are challenged.'],
  conversion_collapse: ['New numbers of an operator do not verify', 'Only strangers are challenged.'],
  otp_bruteforce: ['Codes are guessed', 'Wrong codes, of one number or across many.'],
  enumeration: ['Numbers are probed for accounts', 'Lookups of many or neighbouring numbers.'],
  retry_storm: ['A broken client repeats itself', 'A fault and no attack: its sends are delayed.'],
  load_test: ['Somebody’s load test', 'No attack: its sends are delayed.'],
};
export const kind = (name) => kinds[name]?.[0] ?? name;
export const kindSays = (name) => kinds[name]?.[1] ?? '';
export const harmless = (name) => name === 'retry_storm' || name === 'load_test';

const families = { limit: 'limit', delay: 'limit', detect: 'detection', block: 'detection', spend: 'budget' };
// family is the colour of a reason.
export const family = (reason) => families[reason.split(':', 1)[0]] ?? 'other';

// reason says one in words: "block:ait_range:range4".
export function reason(text) {
  const [what, name, scope] = text.split(':');
  switch (what) {
    case 'limit': return `Limit ${name}`;
    case 'delay': return `Delay for ${name}`;
    case 'spend': return `Budget ${name}`;
    case 'detect': return `${kind(name)}: seen${scope ? ` in ${scope.replaceAll('_', ' ')}` : ''}`;
    case 'block': return `${kind(name)}: blocked${scope ? ` by ${scope.replaceAll('_', ' ')}` : ''}`;
    case 'list': return `List: ${name}`;
    case 'consent': return `Consent: ${name}`;
    default: return text;
  }
}

export const verdict = (name) => ({ VERDICT_ALLOW: 'allow', VERDICT_DENY: 'deny', VERDICT_CHALLENGE: 'challenge' })[name] ?? '';
