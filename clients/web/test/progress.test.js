/* The progress dialog: what it shows, where the focus is, what Escape does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, outcome } from '../testing/fakes.js';
import { FakeDocument } from '../testing/fakeDocument.js';
import { progressDialog } from '../progressDialog.js';

/** A page with one button, which has the focus, and a dialog that is not open yet. */
function page(options = {}) {
  const document = new FakeDocument();
  const opener = document.createElement('button');
  document.body.append(opener);
  opener.focus();
  const clock = new FakeClock();
  const dialog = progressDialog({
    title: 'Reserving',
    document,
    now: () => clock.now,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    ...options,
  });
  const find = (test) => all(dialog.element).find(test);
  return {
    document,
    opener,
    clock,
    dialog,
    element: dialog.element,
    heading: dialog.element.children[0],
    bar: find((node) => node.localName === 'progress'),
    line: find((node) => node.className === 'progress-dialog-line'),
    live: find((node) => node.getAttribute('role') === 'status'),
    hide: find((node) => node.textContent === 'Hide' && node.localName === 'button'),
    abort: find((node) => node.className === 'progress-dialog-abort'),
    steps: all(dialog.element).filter((node) => node.localName === 'li'),
    escape: () => dialog.element.dispatch('keydown', { key: 'Escape' }),
  };
}

function all(node) {
  return [node, ...node.children.flatMap(all)];
}

test('it is in the document only while it is open', () => {
  const { dialog, document, element } = page();
  assert.equal(element.isConnected, false);
  dialog.open();
  assert.ok(element.isConnected && element.open && dialog.isOpen());
  dialog.close();
  assert.equal(document.body.children.length, 1);
  assert.equal(dialog.isOpen(), false);
});

test('the focus moves in and returns to where it was', () => {
  const { dialog, document, heading, opener } = page();
  dialog.open();
  assert.equal(document.activeElement, heading);
  dialog.close();
  assert.equal(document.activeElement, opener);
});

test('an opener that has left the document gets no focus', () => {
  const { dialog, document, heading, opener } = page();
  dialog.open();
  opener.remove();
  dialog.close();
  assert.equal(document.activeElement, heading);
});

test('dialog and bar have the title as their name, and the live text describes the dialog', () => {
  const { bar, element, heading, live } = page();
  assert.equal(heading.textContent, 'Reserving');
  assert.equal(element.getAttribute('aria-labelledby'), heading.id);
  assert.equal(bar.getAttribute('aria-labelledby'), heading.id);
  assert.equal(element.getAttribute('aria-describedby'), live.id);
  assert.notEqual(page().heading.id, heading.id, 'two dialogs have ids of their own');
});

test('percent moves the bar within its bounds, and null takes the end away', () => {
  const { bar, dialog } = page();
  dialog.open();
  assert.equal(bar.value, undefined);
  for (const [percent, value] of [[40, 40], [-1, 0], [140, 100], [undefined, 100], [NaN, 100], ['7', 100], [null, undefined]]) {
    dialog.update({ percent });
    assert.equal(bar.value, value, String(percent));
  }
});

test('steps are done, current or to come', () => {
  const { dialog, steps } = page({ steps: ['calendar', 'slots', 'booking'] });
  const states = () => steps.map((item) => [item.dataset.state, item.getAttribute('aria-current')]);
  dialog.open();
  dialog.update({ step: 1 });
  assert.deepEqual(states(), [['done', null], ['now', 'step'], ['later', null]]);
  dialog.update({ step: 3 });
  assert.deepEqual(states(), [['done', null], ['done', null], ['done', null]]);
  dialog.update({ step: 'one' });
  assert.deepEqual(states()[0], ['done', null]);
});

test('the text is cut, and is text', () => {
  const { dialog, line } = page();
  dialog.open();
  dialog.update({ text: 'x'.repeat(1_000) });
  assert.equal(line.textContent.length, 300);
  dialog.update({ text: { a: 1 } });
  assert.equal(line.textContent, '[object Object]');
});

test('a screen reader is told now and then, and always the last text', () => {
  const { clock, dialog, line, live } = page();
  dialog.open();
  dialog.update({ text: '1 s' });
  assert.equal(live.textContent, '1 s');
  for (let second = 2; second <= 4; second += 1) {
    clock.advance(1_000);
    dialog.update({ text: `${second} s` });
  }
  assert.deepEqual([line.textContent, live.textContent], ['4 s', '1 s']);
  clock.advance(2_000);
  assert.equal(live.textContent, '4 s');
});

test('a new step is told at once', () => {
  const { dialog, live } = page({ steps: ['calendar', 'slots'] });
  dialog.open();
  dialog.update({ text: 'hello', step: 0 });
  dialog.update({ step: 1 });
  assert.equal(live.textContent, 'slots');
});

test('Escape hides it while nothing can be aborted, and open shows it again', () => {
  let hidden = 0;
  const { dialog, document, element, escape, heading, opener } = page({ onHide: () => { hidden += 1; } });
  dialog.open();
  assert.equal(escape(), false, 'the browser does not close it by itself');
  assert.deepEqual([element.open, dialog.isOpen(), hidden, document.activeElement], [false, false, 1, opener]);
  dialog.update({ percent: 50 });
  dialog.open();
  assert.deepEqual([element.open, document.activeElement], [true, heading]);
  dialog.close();
  assert.equal(element.isConnected, false);
});

test('a hidden dialog that is closed takes no focus', () => {
  const { dialog, document, hide } = page();
  const other = document.createElement('input');
  document.body.append(other);
  dialog.open();
  hide.onclick();
  other.focus();
  dialog.close();
  assert.equal(document.activeElement, other);
});

test('without hideable there is no button for it, and Escape does nothing', () => {
  const { dialog, element, escape, hide } = page({ hideable: false });
  dialog.open();
  assert.equal(hide.hidden, true);
  assert.equal(escape(), false);
  assert.ok(element.open);
});

test('once aborting is offered, Escape asks first, and a second Escape goes on', () => {
  let aborted = 0;
  const { abort, dialog, document, escape, heading, line, live } = page();
  dialog.open();
  assert.equal(abort.hidden, true);
  dialog.offerAbort(() => { aborted += 1; }, 'This takes long.');
  assert.deepEqual([abort.hidden, live.textContent], [false, 'This takes long.']);
  assert.equal(document.activeElement, heading, 'the focus stays where it was');
  escape();
  assert.equal(document.activeElement, abort);
  assert.match(live.textContent, /^Abort\?/);
  dialog.update({ text: '9 s' });
  assert.match(line.textContent, /^Abort\?/, 'the question is not talked over');
  escape();
  assert.deepEqual([document.activeElement, line.textContent, aborted], [heading, '9 s', 0]);
});

test('the abort button aborts once and waits for the end', async () => {
  let aborted = 0;
  const { abort, dialog, document, escape, heading, line } = page();
  let finish;
  const work = dialog.during(new Promise((resolve) => { finish = resolve; }));
  dialog.offerAbort(() => { aborted += 1; });
  abort.onclick();
  abort.onclick();
  assert.deepEqual([aborted, abort.disabled, line.textContent], [1, true, 'Aborting…']);
  assert.equal(document.activeElement, heading);
  escape();
  dialog.update({ text: '10 s' });
  assert.equal(line.textContent, 'Aborting…');
  finish('aborted');
  assert.deepEqual(await outcome(work), ['resolved', 'aborted']);
  assert.equal(dialog.isOpen(), false);
});

test('a hidden dialog comes back to offer the abort', () => {
  const { dialog, element, escape } = page();
  dialog.open();
  escape();
  dialog.offerAbort(() => {});
  assert.ok(element.open);
});

test('a request that fails closes the dialog as well', async () => {
  const { dialog, element } = page();
  const work = dialog.during(Promise.reject(new Error('no network')));
  assert.deepEqual(await outcome(work), ['rejected', 'no network']);
  assert.equal(element.isConnected, false);
});

test('opened anew, it has forgotten the last time', () => {
  const { abort, bar, clock, dialog, escape, line, live, element, steps } = page({ steps: ['one'] });
  dialog.open();
  dialog.update({ step: 0, percent: 70, text: 'a' });
  dialog.update({ text: 'b' });
  dialog.offerAbort(() => assert.fail('it is over'));
  dialog.close();
  clock.advance(60_000);
  dialog.open();
  assert.deepEqual([abort.hidden, bar.value, line.textContent, live.textContent], [true, undefined, '', '']);
  assert.equal(steps[0].dataset.state, 'later');
  escape();
  assert.equal(element.open, false);
});

test('what comes after the end is not shown', () => {
  const { abort, bar, dialog, line } = page();
  for (const visit of ['before the first time', 'after it']) {
    dialog.update({ text: 'late', percent: 50 });
    dialog.offerAbort(() => assert.fail('nothing is at work'));
    assert.deepEqual([line.textContent, bar.value, abort.hidden], ['', undefined, true], visit);
    dialog.open();
    dialog.close();
  }
});

test('a browser that closes it in spite of all shows it again', () => {
  const { dialog, element } = page();
  dialog.open();
  assert.equal(element.dispatch('cancel'), false);
  dialog.open();
  dialog.offerAbort(() => {});
  element.close();
  assert.ok(element.open);
});
