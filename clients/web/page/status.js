/*
 * The status page: draws what the resource /status sends once a second. The server sends totals; rates
 * are the difference of two pictures. Everything reaches the page through textContent only.
 */
const KEPT = 120;
const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [KEPT - 1, 40];
const RETRY = 2_000;
const REFUSED = 1008;

const $ = (id) => document.getElementById(id);

// ---- words

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

function count(value) {
  return value >= 100_000 ? new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format(value) : number.format(value);
}

function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, value >= 1 ? Math.floor(Math.log2(value) / 10) : 0);
  return `${number.format(value / 1024 ** power)} ${units[power]}`;
}

function time(seconds) {
  if (seconds < 1) {
    return seconds < 0.001 ? `${number.format(seconds * 1e6)} µs` : `${number.format(seconds * 1e3)} ms`;
  }
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3_600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days > 0) {
    return `${days} d ${hours} h`;
  }
  return hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${number.format(seconds)} s`;
}

const perSecond = (shown) => (value) => `${shown(value)}/s`;

// ---- what is drawn

const sum = (counts) => Object.values(counts).reduce((total, value) => total + value, 0);

/** The difference of a total to the last picture, for each second. */
const rate = (of) => (now, last) => last && now.uptime > last.uptime ? Math.max(0, of(now) - of(last)) / (now.uptime - last.uptime) : 0;

/** The bound below which 99 % of what happened since the last picture lies; 0 if nothing did. */
function slowest(now, last) {
  const counts = now.turns.counts.map((total, i) => (last === null ? 0 : total - last.turns.counts[i]));
  const wanted = 0.99 * sum(counts);
  let seen = 0;
  const slot = wanted > 0 ? counts.findIndex((value) => (seen += value) >= wanted) : -1;
  return slot < 0 ? 0 : now.turns.bounds[Math.min(slot, now.turns.bounds.length - 1)];
}

const CHARTS = [
  { title: 'Clients', shown: count, lines: { websocket: ({ clients }) => clients.websocket, 'PHP and raw': ({ clients }) => clients.php + clients.tcp } },
  { title: 'Messages', shown: perSecond(count), lines: { in: rate(({ messages }) => messages.in), out: rate(({ messages }) => messages.out) } },
  { title: 'Bytes', shown: perSecond(bytes), lines: { in: rate((now) => now.bytes.in), out: rate((now) => now.bytes.out) } },
  { title: 'Waiting to be written', shown: bytes, lines: { 'all clients': ({ outbox }) => outbox.bytes, 'one client': ({ outbox }) => outbox.max } },
  { title: 'A turn of the loop, 99 %', shown: time, lines: { 'at most': slowest } },
  { title: 'CPU', shown: (value) => `${number.format(value)} %`, lines: { 'of one core': rate((now) => 100 * (now.process.cpu ?? 0)) } },
];

const FIGURES = {
  Version: ({ version }) => version,
  Uptime: ({ uptime }) => time(uptime),
  Clients: ({ clients }) => count(sum(clients)),
  'Away, may come back': ({ resume }) => count(resume.away),
  'No clients yet': ({ newcomers }) => count(newcomers.now),
  'Connections so far': ({ accepted }) => count(accepted),
  'Messages in': ({ messages }) => count(messages.in),
  'Messages out': ({ messages }) => count(messages.out),
  Refused: ({ refusals }) => count(sum(refusals)),
  'Too slow': ({ outbox }) => count(outbox.slow),
  'Log lines missing': ({ log }) => count(log.dropped + log.left_out),
  Memory: ({ process }) => process.resident === null ? '–' : bytes(process.resident),
  'Notices waiting': ({ notices }) => notices === null ? 'off' : count(notices.waiting),
};

// ---- charts

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  return element;
}

function html(name, className, text = '') {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

/** A figure with one or two lines; the returned function adds a picture to it. */
function chart({ title, shown, lines }) {
  const figure = document.createElement('figure');
  const caption = document.createElement('figcaption');
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': title });
  const most = html('p', 'most');
  const series = Object.entries(lines).map(([name, of], i) => {
    const path = svg('path', { class: i === 0 ? 'line' : 'line second' });
    const area = i === 0 ? svg('path', { class: 'area' }) : null;
    const now = html('span', 'now');
    const key = html('span', '');
    key.append(html('span', i === 0 ? 'key' : 'key second'), `${name} `, now);
    drawing.append(...[area, path].filter(Boolean));
    return { name, of, path, area, now, key, values: [] };
  });
  caption.append(html('strong', '', title), ...series.map(({ key }) => key));
  figure.append(caption, drawing, most);
  $('charts').append(figure);

  return (picture, last) => {
    series.forEach(({ of, values }) => {
      values.push(of(picture, last));
      values.splice(0, values.length - KEPT);
    });
    const top = Math.max(...series.flatMap(({ values }) => values));
    series.forEach((one) => draw(one, top, shown));
    most.textContent = `Most: ${shown(top)}`;
    const now = series.map(({ name, values }) => `${name} ${shown(values.at(-1))}`).join(', ');
    drawing.setAttribute('aria-label', `${title}: ${now}; most in two minutes ${shown(top)}`);
  };
}

function draw({ path, area, now, values }, top, shown) {
  const from = KEPT - values.length;
  const points = values.map((value, i) => `${from + i} ${(HEIGHT - 1 - (top > 0 ? (value / top) * (HEIGHT - 4) : 0)).toFixed(2)}`);
  path.setAttribute('d', `M${points.join('L')}`);
  area?.setAttribute('d', `M${from} ${HEIGHT}L${points.join('L')}L${WIDTH} ${HEIGHT}Z`);
  now.textContent = shown(values.at(-1));
}

// ---- tables

function fill(id, rows) {
  $(id).replaceChildren(...rows.map((cells) => {
    const row = document.createElement('tr');
    row.append(...cells.map((text) => html('td', '', text)));
    return row;
  }));
}

const figures = Object.entries(FIGURES).map(([name, of]) => {
  const [group, value] = [document.createElement('div'), document.createElement('dd')];
  group.append(html('dt', '', name), value);
  value.textContent = '–';
  $('figures').append(group);
  return { of, value };
});
const charts = CHARTS.map(chart);
let last = null;

function show(picture) {
  // Another process begins again: what it counts has nothing to do with the last picture.
  if (last !== null && last.started !== picture.started) {
    last = null;
  }
  figures.forEach(({ of, value }) => { value.textContent = of(picture); });
  charts.forEach((add) => add(picture, last));
  fill('resources', picture.resources.map(({ path, clients, messages }) => [path, count(clients), count(messages)]));
  fill('refusals', Object.entries(picture.refusals).map(([reason, value]) => [reason, count(value)]));
  fill('closes', Object.entries(picture.closes).map(([code, value]) => [code, count(value)]));
  say('ready', picture.draining ? 'Being stopped' : 'Live');
  last = picture;
}

// ---- connection

function say(state, text) {
  if ($('status').textContent !== text) {
    $('status').dataset.state = state;
    $('status').textContent = text;
  }
}

function connect() {
  say('connecting', 'Connecting…');
  const address = new URL('status', location.href);
  address.protocol = address.protocol.replace('http', 'ws');
  const socket = new WebSocket(address);
  socket.onmessage = ({ data }) => {
    $('reason').textContent = '';
    show(JSON.parse(data));
  };
  socket.onclose = ({ code, reason }) => {
    if (code === REFUSED) {
      say('closed', 'Refused');
      $('reason').textContent = `${reason}: open the page on the server itself, or start it with --allowed-ip for this host.`;
      return;
    }
    say('waiting', 'Reconnecting');
    setTimeout(connect, RETRY);
  };
}

connect();
