/*
 * A dialog in front of the page while a request is under way: its steps, a progress bar, what the
 * backend says, and, once it is offered, a way to abort. It knows no socket and no request; the page
 * hands on what it hears. Looks: progressDialog.css.
 *
 *   closed ──open──▶ working ◀──Escape──▶ asking        Escape while nothing can be aborted:
 *     ▲                │   ╲               │            hides the dialog, the work goes on
 *   close           Escape  Abort        Abort
 *     │                ▼     ╲             │
 *   from all        hidden    ╰─▶ aborting ◀╯
 */

const WORDS = {
  hide: 'Hide',
  abort: 'Abort',
  asking: 'Abort? Press Enter to abort, Escape to go on.',
  aborting: 'Aborting…',
};

const DEFAULTS = {
  title: 'Please wait',
  steps: [],
  hideable: true,
  onHide() {},
  announceEvery: 5_000,
  now: () => performance.now(),
  // Wrapped: browsers refuse timer functions that are called as methods of another object.
  setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

const LONGEST_TEXT = 300;

let dialogs = 0;

/** Makes a dialog; it stands in the document from `open()` to `close()`. */
export function progressDialog(given = {}) {
  const options = { ...DEFAULTS, ...given, words: { ...WORDS, ...given.words } };
  const document = options.document ?? globalThis.document;
  const { element, heading, bar, line, live, hide, abort, steps } = build(document, options);

  let state = 'closed';
  let text = '';
  let opener = null;
  let onAbort = null;
  let announcement;
  let announcedAt = -Infinity;

  hide.onclick = leave;
  abort.onclick = abortNow;
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      event.preventDefault(); // the browser's own way out would close without asking
      escape();
    }
  });
  // Other ways than the key to ask for the end, such as a phone's back gesture.
  element.addEventListener('cancel', (event) => {
    event.preventDefault();
    escape();
  });
  // Browsers may close after all when they were asked twice.
  element.addEventListener('close', () => {
    if (isShown() && !element.open) {
      show();
    }
  });

  // ---- what the page does

  function open() {
    if (isShown()) {
      return;
    }
    if (state === 'closed') {
      document.body.append(element);
    }
    opener = document.activeElement;
    state = 'working';
    show();
  }

  // How far it is. What is left out stays as it was; what comes after the end is not shown.
  function update({ text: said, percent, step } = {}) {
    if (state === 'closed') {
      return;
    }
    if (percent === null) {
      bar.removeAttribute('value');
    } else if (Number.isFinite(percent)) {
      bar.value = Math.min(100, Math.max(0, percent));
    }
    if (Number.isInteger(step)) {
      steps.forEach((item, index) => mark(item, index, step));
    }
    if (said !== undefined) {
      text = String(said).slice(0, LONGEST_TEXT);
      if (state !== 'asking' && state !== 'aborting') {
        say(text);
      }
    }
  }

  // From now on the work can be aborted: `run` is called once, when the user wants it.
  function offerAbort(run, invitation = '') {
    if (state === 'closed') {
      return;
    }
    onAbort = run;
    abort.hidden = false;
    hide.hidden = true;
    if (invitation !== '') {
      update({ text: invitation });
      announce(invitation, true);
    }
    if (state === 'hidden') {
      open();
    }
  }

  // The work has ended: the dialog goes, and the focus returns to where it was.
  function close() {
    if (state === 'closed') {
      return;
    }
    const shown = isShown();
    state = 'closed';
    options.clearTimeout(announcement);
    element.close();
    element.remove();
    reset();
    if (shown) {
      giveFocusBack();
    }
  }

  // Stays open until a promise is settled, and gives its outcome.
  async function during(work) {
    open();
    try {
      return await work;
    } finally {
      close();
    }
  }

  // ---- what the user does

  function escape() {
    if (onAbort === null) {
      leave();
    } else if (state === 'working') {
      state = 'asking';
      say(options.words.asking, true);
      abort.focus();
    } else if (state === 'asking') {
      state = 'working';
      say(text, true);
      heading.focus();
    }
  }

  function abortNow() {
    if (onAbort === null || state === 'aborting') {
      return;
    }
    state = 'aborting';
    abort.disabled = true;
    heading.focus(); // a disabled button loses it
    say(options.words.aborting, true);
    onAbort();
  }

  function leave() {
    if (!options.hideable || state !== 'working') {
      return;
    }
    state = 'hidden';
    element.close();
    giveFocusBack();
    options.onHide();
  }

  // ---- inside

  function isShown() {
    return state === 'working' || state === 'asking' || state === 'aborting';
  }

  // The focus goes to the heading, not to a button: a key that is still held must press nothing.
  function show() {
    element.showModal();
    heading.focus();
  }

  function giveFocusBack() {
    if (opener?.isConnected) {
      opener.focus();
    }
  }

  function reset() {
    onAbort = null;
    text = '';
    announcedAt = -Infinity;
    abort.hidden = true;
    abort.disabled = false;
    hide.hidden = !options.hideable;
    line.textContent = '';
    live.textContent = '';
    bar.removeAttribute('value');
    steps.forEach((item, index) => mark(item, index, -1));
  }

  function say(words, urgent = false) {
    line.textContent = words;
    announce(words, urgent);
  }

  // Seconds that count up are for the eye; a screen reader is told now and then, and of all that matters.
  function announce(words, urgent) {
    options.clearTimeout(announcement);
    const wait = announcedAt + options.announceEvery - options.now();
    if (urgent || wait <= 0) {
      announcedAt = options.now();
      live.textContent = words;
    } else {
      announcement = options.setTimeout(() => announce(words, true), wait);
    }
  }

  function mark(item, index, current) {
    const was = item.dataset.state;
    item.dataset.state = index < current ? 'done' : index === current ? 'now' : 'later';
    if (index === current) {
      item.setAttribute('aria-current', 'step');
      if (was !== 'now') {
        announce(item.textContent, true);
      }
    } else {
      item.removeAttribute('aria-current');
    }
  }

  return { element, open, close, update, offerAbort, during, isOpen: isShown };
}

function build(document, { title, steps, hideable, words }) {
  dialogs += 1;
  const id = `progress-dialog-${dialogs}`;
  const make = (name, properties, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };
  const heading = make('h2', { id: `${id}-title`, tabIndex: -1, textContent: title });
  const items = steps.map((step) => make('li', { textContent: step }));
  const bar = make('progress', { max: 100 });
  bar.setAttribute('aria-labelledby', heading.id);
  // Shown at once, but heard through `live` alone.
  const line = make('p', { className: 'progress-dialog-line' });
  line.setAttribute('aria-hidden', 'true');
  const live = make('p', { id: `${id}-live`, className: 'progress-dialog-live' });
  live.setAttribute('role', 'status');
  const hide = make('button', { type: 'button', textContent: words.hide, hidden: !hideable });
  const abort = make('button', { type: 'button', className: 'progress-dialog-abort', textContent: words.abort, hidden: true });
  const buttons = make('div', { className: 'progress-dialog-buttons' }, hide, abort);
  const list = items.length > 0 ? [make('ol', {}, ...items)] : [];
  const element = make('dialog', { className: 'progress-dialog' }, heading, ...list, bar, line, live, buttons);
  element.setAttribute('aria-labelledby', heading.id);
  element.setAttribute('aria-describedby', live.id);
  return { element, heading, bar, line, live, hide, abort, steps: items };
}

export default progressDialog;
