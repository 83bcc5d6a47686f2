<?php

/*
 * The client while its server is stopped, killed and started again.
 *
 *     php restart.php PHPWS
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\Client;
use Phpws\ClosedException;
use Phpws\ConnectException;

[$binary] = given('PHPWS', 60);

foreach (['SIGTERM' => 15, 'SIGKILL' => 9] as $name => $signal) {
    test("a sender goes on after $name and a new start", static function () use ($binary, $signal): void {
        $server = new Server($binary);
        $client = new Client($server->address(), ['reconnect' => 5, 'backoff' => 0.2]);
        $client->broadcast('before');
        $uuid = $client->uuid();
        $server->stop($signal);
        $server = new Server($binary, $server->port);
        $page = new BrowserClient($server->address());
        $client->feedback('after', $page->uuid);
        holds($client->uuid() !== $uuid, 'the client has a new uuid');
        $packet = $page->packet(5.0);
        same(['after', $client->uuid()], [$packet['message'] ?? null, $packet['fromUUID'] ?? null]);
        same(null, $page->packet(0.2), 'what came after it');
    });
    test("a reader is told of $name and connects again when it wants to", static function () use ($binary, $signal): void {
        $server = new Server($binary);
        $client = new Client($server->address(), ['ident' => 'reader', 'reconnect' => 5, 'backoff' => 0.2]);
        $server->stop($signal);
        $e = throws(ClosedException::class, static function () use ($client): void {
            $client->read(5.0);
        });
        same(true, $e->isTemporary(), "whether \"{$e->getMessage()}\" is temporary");
        same(false, $client->isOpen());
        $server = new Server($binary, $server->port);
        $client->connect();
        (new Client($server->address()))->feedbackTo('found again', 'reader');
        same('found again', $client->read(5.0)['message'] ?? null);
    });
}
test('a member of rooms is one again after a new start, before it sends on', static function () use ($binary): void {
    $server = new Server($binary);
    $client = new Client($server->address(), ['reconnect' => 5, 'backoff' => 0.2]);
    $client->join('stays', 'Ann');
    $client->join('left');
    $client->leave('left');
    $server->stop(9);
    $server = new Server($binary, $server->port);
    $client->broadcastTo('from a member', 'stays');
    $other = new Client($server->address());
    same([1, 0], [$other->who('stays')['count'], $other->who('left')['count']]);
    $other->broadcastTo('to a member', 'stays');
    same(['joined', 'to a member'], [$client->read(5.0)['opcode'] ?? null, $client->read(5.0)['message'] ?? null]);
    same([null, 0], [$client->read(0.1), $client->unacknowledged()], 'what is left');
});
test('without a new start the sender gives up and says why', static function () use ($binary): void {
    $server = new Server($binary);
    $client = new Client($server->address(), ['backoff' => 0.05]);
    $server->stop(15);
    throws(ConnectException::class, static function () use ($client): void {
        $client->broadcast('x');
    }, 'refused');
});

finish();
