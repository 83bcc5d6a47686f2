/*
 * EMAS: shows a page of titles, asks the server to lock them, dims those that others hold. A title
 * can be ordered only while this page holds it.
 */
import { progressDialog } from '../progressDialog.js';
import { $, ask, connect, element, tell } from './connection.js';

const BADGES = {
  asking: 'Asking…',
  mine: 'Yours to order',
  locked: 'Somebody else has it',
  ordered: 'Ordered',
};

const titles = new Map(); // id → { title, state, item, badge, button }
let client = null;
let shelf = '';
let page = 0;
let request = 0; // numbers what is shown, so that an answer to what was shown before is known as such

const dialog = progressDialog({
  title: 'Ordering',
  steps: ['Asking who works with it', 'Asking the supplier', 'Writing the order'],
});

// ---- what is shown

async function show(nextShelf, nextPage) {
  [shelf, page] = [nextShelf, nextPage];
  const asked = (request += 1);
  const answer = await ask(`emas.php?${new URLSearchParams({ shelf, page })}`).catch((error) => tell(error.message, 'bad'));
  if (answer === undefined || asked !== request) {
    return; // failed, or the user has turned on
  }
  page = answer.page;
  $('page').textContent = `${page + 1} of ${answer.pages}`;
  $('before').disabled = page === 0;
  $('after').disabled = page + 1 >= answer.pages;
  showShelves(answer.shelves);
  titles.clear();
  $('titles').replaceChildren(...answer.titles.map(card));
  tell('');
  lock();
}

function showShelves(shelves) {
  if ($('shelves').childElementCount === 0) {
    $('shelves').append(...['', ...shelves].map((name) => {
      const button = element('button', { type: 'button', className: 'quiet', textContent: name || 'All' });
      button.dataset.shelf = name;
      button.onclick = () => show(name, 0);
      return button;
    }));
  }
  for (const button of $('shelves').children) {
    button.setAttribute('aria-pressed', String(button.dataset.shelf === shelf));
  }
}

function card(title) {
  const badge = element('p', { className: 'badge' });
  const button = element('button', { type: 'button', textContent: 'Order', onclick: () => order(title) });
  button.setAttribute('aria-label', `Order ${title.title}`);
  const item = element('li', { className: 'title' },
    element('span', { className: 'cover' }),
    element('h3', { textContent: title.title }),
    element('p', { className: 'hint', textContent: title.author }),
    badge, button);
  item.dataset.id = title.id;
  titles.set(title.id, { title, item, badge, button });
  mark(title.id, title.ordered ? 'ordered' : 'asking');
  return item;
}

function mark(id, state) {
  const shown = titles.get(id);
  if (shown === undefined || shown.state === 'ordered') {
    return;
  }
  shown.state = state;
  shown.item.dataset.state = state;
  shown.badge.textContent = BADGES[state];
  shown.button.disabled = state !== 'mine';
}

$('before').onclick = () => show(shelf, page - 1);
$('after').onclick = () => show(shelf, page + 1);

// ---- what the server says

function lock() {
  if (client?.isOpen()) {
    client.sendMsg({ opcode: 'lock', page: request, ids: [...titles.keys()] });
  }
}

const hear = {
  ready: lock,
  lost() {
    titles.forEach((_, id) => mark(id, 'asking'));
  },
  locked({ page: answered, ids }) {
    if (answered === request) {
      const locked = new Set(ids);
      titles.forEach((_, id) => mark(id, locked.has(id) ? 'locked' : 'mine'));
    }
  },
  unlocked({ ids }) {
    const freed = ids.filter((id) => titles.get(id)?.state === 'locked');
    ids.forEach((id) => mark(id, 'mine'));
    if (freed.length > 0) {
      tell(freed.length === 1 ? `“${titles.get(freed[0]).title.title}” is yours now.` : `${freed.length} titles are yours now.`);
    }
  },
  refused({ error }) {
    tell(`The server did not lock these titles: ${error}.`, 'bad');
  },
  feedback({ message, step, percent }) {
    dialog.update({ text: message, step, percent });
  },
  announce({ ordered }) {
    ordered.forEach((id) => mark(id, 'ordered'));
  },
};

// ---- ordering

async function order({ id, title }) {
  try {
    await dialog.during(ask('emas.php', { uuid: client.uuid(), id }));
    mark(id, 'ordered');
    tell(`Ordered: ${title}`);
  } catch (error) {
    tell(`“${title}” was not ordered. ${error.message}`, 'bad');
  }
}

show('', 0);
client = await connect('/emas', hear).catch((error) => tell(error.message, 'bad'));
