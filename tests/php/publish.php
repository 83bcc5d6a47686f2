<?php

/*
 * Publishing over HTTP: the class, and a script that has nothing but file_get_contents().
 *
 *     php publish.php ADDRESS [CAFILE]
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\ArgumentException;
use Phpws\ConnectException;
use Phpws\Publisher;
use Phpws\PublishException;

[$root, $cafile] = given('ADDRESS [CAFILE]', 60);
$ssl = $cafile === '' ? [] : ['cafile' => $cafile];
$url = (string) preg_replace(['#^ws:#', '#^wss:#'], ['http:', 'https:'], $root);

$publisher = new Publisher($url, ['ssl' => $ssl]);
$browser = static function (string $resource = '/web', string $ident = '') use ($root, $cafile): BrowserClient {
    return new BrowserClient($root, $resource, $cafile, $ident);
};
const NOBODY = '00000000-0000-4000-8000-000000000000';

test('feedback reaches the page as the one of a client does', static function () use ($publisher, $browser): void {
    $page = $browser();
    same(['delivered' => 1, 'queued' => 0], $publisher->feedback('half done', $page->uuid, ['progress' => 1.0]));
    $packet = $page->packet(5.0);
    same(['feedback', $page->uuid, 'half done', 1.0], [$packet['opcode'] ?? null, $packet['uuid'], $packet['message'], $packet['progress']]);
    same(['delivered' => 1, 'queued' => 0], $publisher->feedback(['a' => ['grüße', '007']], $page->uuid, [], 'a key'));
    same(['a' => ['grüße', '007']], $page->packet(5.0)['message']);
});
test('an ident is found whatever it holds', static function () use ($publisher, $browser): void {
    $ident = 'büro & co ' . getmypid();
    $page = $browser('/web', $ident);
    same(1, $publisher->feedbackTo('for the büro', $ident)['delivered']);
    same(['for the büro'], $page->messages(1, 5.0));
});
test('a broadcast reaches all pages, or those of one resource', static function () use ($publisher, $browser): void {
    [$web, $root] = [$browser('/web'), $browser('/')];
    holds($publisher->broadcast(['n' => 1])['delivered'] >= 2, 'two or more');
    holds($publisher->broadcast('only here', [], '/web', 'k')['delivered'] >= 1, 'one or more');
    same([['n' => 1], 'only here'], $web->messages(2, 5.0));
    same([['n' => 1]], $root->messages(1, 5.0));
    same(null, $root->packet(0.2));
});
test('a list is answered one by one', static function () use ($publisher, $browser): void {
    $page = $browser();
    $results = $publisher->publish([
        ['uuid' => $page->uuid, 'message' => 'text'],
        ['uuid' => NOBODY, 'message' => 'text'],
        ['resource' => '/web', 'message' => ['own' => 'members'], 'key' => 'k'],
        ['broadcast' => true],
    ]);
    same([200, 404, 200, 400], array_column($results, 'status'));
    same('nobody has that uuid', $results[1]['error']);
    same(['text', 'members'], [$page->packet(5.0)['message'], $page->packet(5.0)['own']]);
    same([], $publisher->publish([]));
});
test('a message that is sent again with its idempotency key arrives once', static function () use ($publisher, $browser): void {
    $page = $browser();
    $key = Publisher::idempotencyKey();
    for ($i = 0; $i < 3; $i++) {
        same(['delivered' => 1, 'queued' => 0], $publisher->feedback('once', $page->uuid, [], '', $key));
    }
    $e = throws(PublishException::class, static function () use ($publisher, $page, $key): void {
        $publisher->feedback('other', $page->uuid, [], '', $key);
    }, 'This Idempotency-Key was used for another request');
    same([422, false], [$e->status(), $e->isTemporary()]);
    $list = [['uuid' => $page->uuid, 'message' => 'in a list', 'idempotency-key' => Publisher::idempotencyKey()]];
    same([false, true], [isset($publisher->publish($list)[0]['replayed']), $publisher->publish($list)[0]['replayed']]);
    $publisher->feedback('last', $page->uuid);
    same(['once', 'in a list', 'last'], $page->messages(3, 5.0));
    throws(ArgumentException::class, static function () use ($publisher): void {
        $publisher->publish([], "a\nb");
    }, 'idempotency key');
});
test('a client can be asked after', static function () use ($publisher, $browser): void {
    $page = $browser();
    $client = $publisher->client($page->uuid);
    same([true, 0, 'websocket', '/web'], [$client['connected'], $client['queued'], $client['client_type'], $client['resource']]);
    holds(abs(time() - strtotime($client['since'])) < 10, 'since a moment ago');
    same([null, null], [$publisher->client(NOBODY), $publisher->client('../x y')]);
});
test('a refusal is an exception with the words of the server', static function () use ($publisher, $url, $ssl): void {
    $e = throws(PublishException::class, static function () use ($publisher): void {
        $publisher->feedback('x', NOBODY);
    }, 'nobody has that uuid');
    same(404, $e->status());
    $e = throws(PublishException::class, static function () use ($publisher): void {
        $publisher->broadcast('x', [], '', str_repeat('k', 129));
    }, 'The key is over 128 bytes');
    same(400, $e->status());
    $e = throws(PublishException::class, static function () use ($url, $ssl): void {
        (new Publisher("$url/php", ['ssl' => $ssl, 'token' => 'wrong']))->broadcast(str_repeat('x', 6000000));
    }, 'The body is over 5242880 bytes');
    same(413, $e->status());
});
test('where nobody listens the exception says so', static function (): void {
    $server = stream_socket_server('tcp://127.0.0.1:0');
    $name = stream_socket_get_name($server, false);
    fclose($server);
    throws(ConnectException::class, static function () use ($name): void {
        (new Publisher("http://$name"))->broadcast('x');
    }, 'refused');
});
test('a script needs nothing but file_get_contents', static function () use ($url, $ssl, $browser): void {
    $page = $browser();
    $context = stream_context_create(['http' => ['method' => 'POST', 'content' => '{"progress":50}', 'header' => 'Content-Type: application/json'], 'ssl' => $ssl]);
    same("{\"delivered\":1,\"queued\":0}\n", file_get_contents("$url/feedback/{$page->uuid}", false, $context));
    same(50, $page->packet(5.0)['progress']);
    $context = stream_context_create(['http' => ['method' => 'POST', 'content' => 'x', 'header' => 'Content-Type: application/json', 'ignore_errors' => true], 'ssl' => $ssl]);
    holds(strpos((string) file_get_contents("$url/broadcast", false, $context), 'line 1 column 1') !== false, 'the place of the error');
});

finish();
