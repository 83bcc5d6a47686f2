<?php

/*
 * Publisher on one of several processes that does not reach the others: what nobody knows is said.
 *
 *     php apart.php ADDRESS
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\Publisher;
use Phpws\PublishException;

[$root] = given('ADDRESS', 60);
$publisher = new Publisher(str_replace('ws:', 'http:', $root));
const NOBODY = '00000000-0000-4000-8000-000000000000';

test('a broadcast counts those that are known, and says that there may be more', static function () use ($publisher, $root): void {
    $page = new BrowserClient($root, '/web', '', '');
    same(['delivered' => 1, 'unknown' => true, 'queued' => 0], $publisher->broadcast('x'));
    same(['x'], $page->messages(1, 5.0));
    same(['delivered' => 1, 'queued' => 0], $publisher->feedback('y', $page->uuid));
});
test('feedback of which nobody knows is an exception that says so, and temporary', static function () use ($publisher): void {
    $e = throws(PublishException::class, static function () use ($publisher): void {
        $publisher->feedback('x', NOBODY);
    }, 'nobody knows');
    same([503, true], [$e->status(), $e->isTemporary()]);
    $e = throws(PublishException::class, static function () use ($publisher): void {
        $publisher->client(NOBODY);
    }, 'nobody knows');
    same(503, $e->status());
});
test('in a list each message has its own', static function () use ($publisher): void {
    $results = $publisher->publish([['uuid' => NOBODY, 'message' => 'x'], ['broadcast' => true, 'message' => 'x']]);
    same([[503, 0, true], [202, 0, true]], array_map(static function (array $result): array {
        return [$result['status'], $result['delivered'], $result['unknown']];
    }, $results));
});

finish();
