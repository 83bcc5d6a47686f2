/* The type declarations of the web client, compiled against code that uses them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import * as progress from '../../clients/web/progressDialog.js';
import * as client from '../../clients/web/socketWebClient.js';

const here = import.meta.dirname;

test('the declarations accept every documented call and refuse wrong ones', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [
    resolve(here, 'node_modules/typescript/bin/tsc'), '--project', here,
  ], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stdout + stderr);
});

test('what the declarations export is there', () => {
  assert.equal(typeof client.socketWebClient, 'function');
  assert.equal(client.default, client.socketWebClient);
  assert.equal(typeof progress.progressDialog, 'function');
  assert.equal(progress.default, progress.progressDialog);
});
