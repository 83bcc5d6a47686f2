/* The ways to write the server's address, and where the rest of it comes from. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import defaultExport, { socketWebClient } from '../socketWebClient.js';
import { FakeClock, FakeSocket } from '../testing/fakes.js';

const PAGE = { protocol: 'http:', host: 'example.org:8095', hostname: 'example.org' };
const SAFE_PAGE = { ...PAGE, protocol: 'https:' };

function connectionOf(location, ...args) {
  let made;
  class Socket extends FakeSocket {
    constructor(...how) {
      super(...how);
      made = this;
    }
  }
  const clock = new FakeClock();
  const options = { WebSocket: Socket, location, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout };
  socketWebClient(...args, options).init();
  return made;
}

const urlOf = (...args) => connectionOf(...args).url;

test('the default export is the function itself', () => {
  assert.equal(defaultExport, socketWebClient);
});

test('each way to write the server leads to one URL', () => {
  const table = [
    ['ws://host:1', 'ws://host:1/web'],
    ['wss://host:1', 'wss://host:1/web'],
    ['tcp://host:1', 'ws://host:1/web'],
    ['ssl://host:1', 'wss://host:1/web'],
    ['tls://host:1', 'wss://host:1/web'],
    ['http://host:1/', 'ws://host:1/web'],
    ['https://host:1/', 'wss://host:1/web'],
    ['SSL://host', 'wss://host/web'],
    ['host:1', 'ws://host:1/web'],
    ['[::1]:1', 'ws://[::1]:1/web'],
    ['wss://host/behind/proxy/', 'wss://host/behind/proxy/web'],
    [':1', 'ws://example.org:1/web'],
    ['', 'ws://example.org:8095/web'],
    [undefined, 'ws://example.org:8095/web'],
    ['wss://', 'wss://example.org:8095/web'],
  ];
  for (const [server, url] of table) {
    assert.equal(urlOf(PAGE, server, '/web'), url, String(server));
  }
});

test('on an https page every address is wss', () => {
  const table = [
    ['', 'wss://example.org:8095/web'],
    ['ws://host:1', 'wss://host:1/web'],
    ['tcp://host:1', 'wss://host:1/web'],
    ['host:1', 'wss://host:1/web'],
  ];
  for (const [server, url] of table) {
    assert.equal(urlOf(SAFE_PAGE, server, '/web'), url, server);
  }
});

test('the resource may lack its slash or carry a query', () => {
  assert.equal(urlOf(PAGE, '', 'web'), 'ws://example.org:8095/web');
  assert.equal(urlOf(PAGE, '', '/web?token=1'), 'ws://example.org:8095/web?token=1');
});

test('the resource is /web if none is given', () => {
  assert.equal(urlOf(PAGE, '', undefined), 'ws://example.org:8095/web');
});

test('server, port and app may come in the order of 2021', () => {
  assert.equal(urlOf(PAGE, 'ssl://host', 8096, '/web'), 'wss://host:8096/web');
  assert.equal(urlOf(PAGE, 'tcp://host', '8095', '/php'), 'ws://host:8095/php');
  assert.equal(urlOf(PAGE, '', 8096, '/web'), 'ws://example.org:8096/web');
});

test('an unknown scheme and a missing page are told at once', () => {
  assert.throws(() => socketWebClient('ftp://host', '/web'), /unknown scheme ftp/);
  assert.throws(() => socketWebClient('constructor://host', '/web'), /unknown scheme/);
  assert.throws(() => socketWebClient('', '/web'), /no page to take the server address from/);
  assert.throws(() => socketWebClient(':8095', '/web'), /no page/);
  assert.throws(() => socketWebClient('', '/web', { location: { protocol: 'file:', host: '', hostname: '' } }), /no page/);
});

test('in a page the browser writes the Origin header, elsewhere the client does', () => {
  assert.equal(connectionOf(PAGE, 'host:1', '/web').options, undefined);
  assert.deepEqual(connectionOf(undefined, 'host:1', '/web').options, { headers: { Origin: '' } });
});
