/*
 * RVK browser: starts a query, shows how long it has been at work, and from OFFER_AFTER seconds on
 * offers to abort it. The ident that names the query comes with each report.
 */
import { progressDialog } from '../progressDialog.js';
import { $, ask, connect, element, tell } from './connection.js';

const OFFER_AFTER = 3;

const dialog = progressDialog({ title: 'Asking the database', hideable: false, words: { abort: 'Abort the query' } });
let offered = false;
let running = null; // the ident of the query at work, once it has been told

const abort = () => client.sendMsg({ opcode: 'abort', ident: running });

const hear = {
  ready() {
    $('start').disabled = false;
  },
  lost() {
    $('start').disabled = true;
  },
  feedback({ elapsed, query }) {
    running = query;
    const seconds = `${elapsed} second${elapsed === 1 ? '' : 's'}`;
    dialog.update({ text: `The database has been at work for ${seconds}.`, percent: null });
    if (elapsed >= OFFER_AFTER && !offered) {
      offered = true;
      dialog.offerAbort(abort, `After ${seconds} it is still at work. You can wait or abort.`);
    }
  },
  refused() {
    dialog.update({ text: 'The query has just come to its end.' });
  },
};

$('search').onsubmit = async (event) => {
  event.preventDefault();
  offered = false;
  running = null;
  tell('');
  show([]);
  const form = new FormData($('search'));
  const query = { notation: form.get('notation'), titles: Number(form.get('titles')), uuid: client.uuid() };
  try {
    const answer = await dialog.during(ask('rvk.php', query));
    tell(summary(answer));
    show(answer.decades ?? []);
  } catch (error) {
    tell(error.message, 'bad');
    if (running !== null) {
      abort(); // nobody waits for its answer any more
    }
  }
};

function summary({ decades, ended, seconds }) {
  if (ended !== undefined) {
    return ended === 'abort'
      ? `Aborted after ${seconds} s; the database is free again.`
      : `The connection was lost, so the query was ended after ${seconds} s.`;
  }
  const count = decades.reduce((sum, { titles }) => sum + titles, 0);
  return `${count.toLocaleString('en')} titles in ${seconds} s`;
}

function show(decades) {
  const most = Math.max(...decades.map(({ titles }) => titles));
  $('result').tBodies[0].replaceChildren(...decades.map(({ decade, titles }) => {
    const bar = element('span', { className: 'bar', textContent: titles.toLocaleString('en') });
    bar.style.setProperty('--share', titles / most);
    return element('tr', {}, element('th', { scope: 'row', textContent: `${decade}s` }), element('td', {}, bar));
  }));
  $('result').hidden = decades.length === 0;
  $('none').hidden = decades.length > 0;
}

const client = await connect('/rvk', hear);
