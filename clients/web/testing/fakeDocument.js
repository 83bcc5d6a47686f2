/*
 * As much of a document as progressDialog.js needs: elements that keep what they were given, a modal
 * dialog, and a focus that tests can look at.
 */
export class FakeElement {
  children = [];
  dataset = {};
  hidden = false;
  disabled = false;
  open = false;
  #attributes = new Map();
  #listeners = {};
  #text = '';

  constructor(document, name) {
    this.document = document;
    this.localName = name;
  }

  get textContent() {
    return this.#text + this.children.map((child) => child.textContent).join('');
  }

  set textContent(text) {
    this.#text = text;
    this.document.changes.push([this, text]);
  }

  get isConnected() {
    return this === this.document.body || (this.parent?.isConnected ?? false);
  }

  append(...children) {
    this.children.push(...children);
    children.forEach((child) => { child.parent = this; });
  }

  remove() {
    this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = undefined;
  }

  setAttribute(name, value) {
    this.#attributes.set(name, value);
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  removeAttribute(name) {
    this.#attributes.delete(name);
    delete this[name];
  }

  addEventListener(type, listener) {
    this.#listeners[type] = listener;
  }

  /** Tells the listener; whether it let the browser go on. */
  dispatch(type, event = {}) {
    let goesOn = true;
    this.#listeners[type]?.({ ...event, preventDefault: () => { goesOn = false; } });
    return goesOn;
  }

  focus() {
    if (!this.disabled && !this.hidden) {
      this.document.activeElement = this;
    }
  }

  showModal() {
    if (this.open || !this.isConnected) {
      throw new Error('InvalidStateError');
    }
    this.open = true;
  }

  close() {
    if (this.open) {
      this.open = false;
      this.dispatch('close');
    }
  }
}

export class FakeDocument {
  changes = [];

  constructor() {
    this.body = new FakeElement(this, 'body');
    this.activeElement = this.body;
  }

  createElement(name) {
    return new FakeElement(this, name);
  }
}
