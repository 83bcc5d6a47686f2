/*
 * WLBRISERVA: a calendar of free workspaces; a click reserves one. The backend's steps appear in a
 * dialog; whoever hides it goes on reading, and finds the outcome in the page.
 */
import { progressDialog } from '../progressDialog.js';
import { $, ask, connect, element, tell } from './connection.js';

const cells = new Map(); // "day slot" → button
const mine = new Map(); // "day slot" → workspace

const dialog = progressDialog({
  title: 'Reserving a workspace',
  steps: ['Reading the calendar', 'Looking for a free workspace', 'Booking it'],
  onHide() {
    $('again').hidden = false;
    $('again').focus();
  },
});
let busy = false;

// ---- calendar

const key = (day, slot) => `${day} ${slot}`;
const dayName = (day) => new Date(`${day}T12:00`).toLocaleDateString('en', { weekday: 'short', day: 'numeric', month: 'short' });

async function show() {
  const { days, slots, free } = await ask('wlbriserva.php');
  const head = [element('td'), ...days.map((day) => element('th', { scope: 'col', textContent: dayName(day) }))];
  $('calendar').tHead.replaceChildren(element('tr', {}, ...head));
  cells.clear();
  $('calendar').tBodies[0].replaceChildren(...slots.map((slot) => {
    const row = days.map((day) => element('td', {}, cell(day, slot, free[day][slot])));
    return element('tr', {}, element('th', { scope: 'row', textContent: slot }), ...row);
  }));
}

function cell(day, slot, free) {
  const button = element('button', { type: 'button', onclick: () => reserve(day, slot) });
  cells.set(key(day, slot), button);
  mark(day, slot, free);
  return button;
}

function mark(day, slot, free) {
  const button = cells.get(key(day, slot));
  if (button === undefined) {
    return;
  }
  const own = mine.get(key(day, slot));
  button.dataset.free = free;
  button.toggleAttribute('data-mine', own !== undefined);
  button.textContent = own !== undefined ? `No. ${own}` : free > 0 ? `${free} free` : 'taken';
  // The name holds what is to be seen, so that who says it aloud presses this button.
  button.setAttribute('aria-label', `${dayName(day)}, ${slot}: ${button.textContent}${own !== undefined ? ', yours' : ''}`);
  // Disabled in name only, so that it keeps the focus and can be read.
  button.setAttribute('aria-disabled', String(free === 0 || own !== undefined));
}

// ---- reserving

async function reserve(day, slot) {
  if (busy || cells.get(key(day, slot)).getAttribute('aria-disabled') === 'true') {
    return;
  }
  busy = true;
  tell('');
  try {
    const { desk } = await dialog.during(ask('wlbriserva.php', { uuid: client.uuid(), day, slot }));
    mine.set(key(day, slot), desk);
    mark(day, slot, Number(cells.get(key(day, slot)).dataset.free));
    tell(`Workspace ${desk} is yours on ${dayName(day)} from ${slot}.`);
  } catch (error) {
    tell(`Nothing was reserved. ${error.message}`, 'bad');
  }
  busy = false;
  if (document.activeElement === $('again')) {
    cells.get(key(day, slot)).focus();
  }
  $('again').hidden = true;
}

$('again').onclick = () => dialog.open();

const hear = {
  // Also after a lost connection, since announcements were missed meanwhile.
  ready: () => show().catch((error) => tell(error.message, 'bad')),
  feedback({ message, step, percent }) {
    dialog.update({ text: message, step, percent });
  },
  announce({ day, slot, free }) {
    mark(day, slot, free);
  },
};

const client = await connect('/wlbriserva', hear);
