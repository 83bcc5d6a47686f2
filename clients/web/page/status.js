/*
 * The status page: draws what the resource /status sends once a second, which are the figures of /metrics in groups. All
 * of them are shown; some by name in addition, at the top and as charts. The server sends totals; rates are the
 * difference of two pictures. Everything reaches the page through textContent only.
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

const NONE = { value: 0, values: [], counts: [], bounds: [], sum: 0 };

/** A picture as it came: each figure by its name, and the groups. */
function read({ groups }) {
  const figures = new Map(groups.flatMap((group) => group.figures).map((figure) => [figure.name, figure]));
  return { groups, of: (name) => figures.get(name) ?? NONE, has: (name) => figures.has(name) };
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const one = (name) => (now) => now.of(name).value;
const labelled = (name, ...labels) => (now) => sum(now.of(name).values.filter(([label]) => labels.includes(label)).map(([, value]) => value));
const all = (name) => (now) => sum(now.of(name).values.map(([, value]) => value));
const uptime = one('phpws_uptime_seconds');

/** The difference of a total to the last picture, for each second. */
const rate = (of) => (now, last) => last && uptime(now) > uptime(last) ? Math.max(0, of(now) - of(last)) / (uptime(now) - uptime(last)) : 0;

/** The bound below which 99 % of what happened since the last picture lies; 0 if nothing did. */
function slowest(now, last) {
  const [turns, before] = [now, last].map((picture) => picture?.of('phpws_turn_seconds'));
  const counts = turns.counts.map((total, i) => (before ? total - before.counts[i] : 0));
  const wanted = 0.99 * sum(counts);
  let seen = 0;
  const slot = wanted > 0 ? counts.findIndex((value) => (seen += value) >= wanted) : -1;
  return slot < 0 ? 0 : turns.bounds[Math.min(slot, turns.bounds.length - 1)];
}

const CHARTS = [
  { title: 'Clients', shown: count, lines: { websocket: labelled('phpws_clients', 'websocket'), 'PHP and raw': labelled('phpws_clients', 'php', 'tcp') } },
  { title: 'Messages', shown: perSecond(count), lines: { in: rate(one('phpws_messages_received_total')), out: rate(one('phpws_messages_sent_total')) } },
  { title: 'Bytes', shown: perSecond(bytes), lines: { in: rate(one('phpws_received_bytes_total')), out: rate(one('phpws_sent_bytes_total')) } },
  { title: 'Waiting to be written', shown: bytes, lines: { 'all clients': one('phpws_outbox_bytes'), 'one client': one('phpws_outbox_max_bytes') } },
  { title: 'A turn of the loop, 99 %', shown: time, lines: { 'at most': slowest } },
  { title: 'CPU', shown: (value) => `${number.format(value)} %`, lines: { 'of one core': rate((now) => 100 * one('process_cpu_seconds_total')(now)) } },
];

const FIGURES = {
  Version: (now) => now.of('phpws_build_info').values[0][0],
  Uptime: (now) => time(uptime(now)),
  Clients: (now) => count(all('phpws_clients')(now)),
  'Away, may come back': (now) => count(one('phpws_clients_away')(now)),
  'No clients yet': (now) => count(one('phpws_newcomers')(now)),
  'Connections so far': (now) => count(one('phpws_connections_accepted_total')(now)),
  'Messages in': (now) => count(one('phpws_messages_received_total')(now)),
  'Messages out': (now) => count(one('phpws_messages_sent_total')(now)),
  Refused: (now) => count(all('phpws_refusals_total')(now)),
  'Held for clients': (now) => `${bytes(all('phpws_memory_bytes')(now))} of ${bytes(one('phpws_memory_limit_bytes')(now))}`,
  Memory: (now) => now.has('process_resident_memory_bytes') ? bytes(one('process_resident_memory_bytes')(now)) : '–',
  'Notices waiting': (now) => now.has('phpws_notices_waiting') ? count(one('phpws_notices_waiting')(now)) : 'off',
};

/** How the values of a figure are written: its name ends with the unit. */
function unit(name) {
  if (name === 'process_start_time_seconds') {
    return (value) => new Date(value * 1000).toISOString().replace('T', ' ').slice(0, 19);
  }
  return /_bytes(_total)?$/.test(name) ? bytes : /_seconds(_total)?$/.test(name) ? time : count;
}

/** The rows of a figure: what it is, and its values. */
function rows({ name, help, value, values, counts, sum: seconds }) {
  const [shown, label] = [unit(name), help.replace(/\.$/, '')];
  if (values) {
    return [[label, ''], ...values.map(([part, one]) => [`${part}`, shown(one), 'part'])];
  }
  if (counts) {
    const times = sum(counts);
    return [[label, times > 0 ? `${count(times)} × ${time(seconds / times)}` : '0']];
  }
  return [[label, shown(value)]];
}

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

/** The table of a group, which is made when the group comes for the first time. */
function groupTable(title) {
  const id = `group-${title.toLowerCase().replace(/[^a-z]+/g, '-')}`;
  if (!$(id)) {
    const [section, heading, table, head, body] = ['section', 'h2', 'table', 'tr', 'tbody'].map((name) => document.createElement(name));
    section.className = 'card';
    heading.id = `${id}-title`;
    heading.textContent = title;
    table.setAttribute('aria-labelledby', heading.id);
    head.append(...['What', 'Now'].map((text) => Object.assign(html('th', '', text), { scope: 'col' })));
    table.append(document.createElement('thead'), body);
    table.tHead.append(head);
    body.id = id;
    section.append(heading, table);
    $('groups').append(section);
  }
  return id;
}

function showGroup({ title, figures }) {
  const lines = figures.flatMap(rows);
  const id = groupTable(title);
  fill(id, lines.map(([what, now]) => [what, now]));
  lines.forEach(([, , part], at) => { $(id).rows[at].className = part ?? ''; });
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
  const started = one('process_start_time_seconds');
  if (last !== null && started(last) !== started(picture)) {
    last = null;
  }
  figures.forEach(({ of, value }) => { value.textContent = of(picture); });
  charts.forEach((add) => add(picture, last));
  const messages = new Map(picture.of('phpws_resource_messages_total').values);
  fill('resources', picture.of('phpws_resource_clients').values.map(([path, clients]) => [path, count(clients), count(messages.get(path))]));
  picture.groups.forEach(showGroup);
  say('ready', one('phpws_draining')(picture) ? 'Being stopped' : 'Live');
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
    show(read(JSON.parse(data)));
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
