<?php

/*
 * A client that comes back as itself to a running server, over a line that breaks.
 *
 *     php resume_live.php PHPWS
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\Client;
use Phpws\ClosedException;

[$binary] = given('PHPWS', 120);

const RESUME = ['resume' => true, 'backoff' => 0.02, 'resume_within' => 10.0];

/** @return array<int, mixed> the messages of so many packets */
function messages(Client $client, int $count): array
{
    $messages = [];
    while (count($messages) < $count && ($packet = $client->read(5.0)) !== null) {
        $messages[] = $packet['message'] ?? $packet['opcode'];
    }
    return $messages;
}

/** @return array<string, mixed> what the server says became of a packet */
function receipt(Client $client, string $ident, string $message): array
{
    $client->feedbackTo($message, $ident, ['receipt' => $message]);
    return $client->read(5.0) ?? [];
}

test('what is sent to a client that is away waits for it, in order and once', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60']);
    $proxy = new Proxy($server->port);
    $reader = new Client($proxy->address, ['ident' => 'reader'] + RESUME);
    $sender = new Client($server->address());
    same('new', $reader->lastResume());
    $uuid = $reader->uuid();
    same(200, receipt($sender, 'reader', 'one')['status'] ?? null);
    same(['one'], messages($reader, 1));
    $proxy->cut();
    // The server may not have noticed yet; then what it writes into the broken line has to be kept as well.
    $sender->feedbackTo('two', 'reader');
    $deadline = microtime(true) + 5.0;
    do {
        $receipt = receipt($sender, 'reader', 'again');
    } while (($receipt['status'] ?? null) !== 202 && microtime(true) < $deadline);
    same([202, 1], [$receipt['status'] ?? null, $receipt['queued'] ?? null]);
    same(null, $reader->read(0.1), 'what is read meanwhile');
    $proxy->pass();
    same('two', messages($reader, 1)[0] ?? null);
    $sender->feedbackTo('last', 'reader');
    do {
        $message = messages($reader, 1)[0] ?? null;
    } while ($message === 'again');
    same(['last', $uuid, 'resumed', 0], [$message, $reader->uuid(), $reader->lastResume(), $reader->missed()]);
    same(null, $reader->read(0.2), 'what came after it');
});
test('100 packets over a line that breaks all the time arrive once and in order', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60']);
    $proxy = new Proxy($server->port);
    $sender = new Client($proxy->address, RESUME);
    $reader = new Client($proxy->address, ['ident' => 'reader'] + RESUME);
    $sent = $read = [];
    for ($i = 0; $i < 100; $i++) {
        if ($i % 7 === 3) {
            $proxy->break();
        }
        $sender->feedbackTo($sent[] = "message $i", 'reader');
        if ($i % 10 === 5) {
            $proxy->break();
        }
        while (($packet = $reader->read(0.0)) !== null) {
            $read[] = $packet['message'];
        }
    }
    $read = array_merge($read, messages($reader, 100 - count($read)));
    same($sent, $read);
    same(null, $reader->read(0.2), 'what came after them');
    same(['resumed', 'resumed'], [$sender->lastResume(), $reader->lastResume()]);
});
test('a browser and a script that are away are still there for the rooms', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60']);
    $proxy = new Proxy($server->port);
    $member = new Client($proxy->address, RESUME);
    same(1, $member->join('room'));
    $other = new Client($server->address());
    $proxy->cut();
    $other->broadcastTo('for members', 'room');
    same(1, $other->who('room')['count']);
    $proxy->pass();
    same([['for members'], 'resumed'], [messages($member, 1), $member->lastResume()]);
    same(1, $member->who('room')['count']);
    same(null, $member->read(0.1), 'it has not joined again');
});
test('who is away for too long is another client then, and joins its rooms again', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '1']);
    $proxy = new Proxy($server->port);
    $member = new Client($proxy->address, RESUME);
    $member->join('room');
    $uuid = $member->uuid();
    $other = new Client($server->address());
    $proxy->cut();
    $deadline = microtime(true) + 10.0;
    while ($other->who('room')['count'] > 0 && microtime(true) < $deadline) {
        usleep(20000);
    }
    $proxy->pass();
    $member->broadcast('here again');
    holds($member->uuid() !== $uuid, 'the uuid is a new one');
    same(['lost', null, 1], [$member->lastResume(), $member->missed(), $other->who('room')['count']]);
});
test('what does not fit is missing, and the rest comes', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60', '--resume-bytes', '4096']);
    $proxy = new Proxy($server->port);
    $reader = new Client($proxy->address, ['ident' => 'reader'] + RESUME);
    $sender = new Client($server->address());
    $proxy->cut();
    for ($i = 0; $i < 100; $i++) {
        $sender->feedbackTo($i, 'reader', ['ballast' => str_repeat('x', 200)]);
    }
    $proxy->pass();
    $read = messages($reader, 1);
    same('gap', $reader->lastResume());
    $missed = $reader->missed();
    holds(is_int($missed) && $missed > 50 && $missed < 100, "$missed are missing");
    $read = array_merge($read, messages($reader, 99 - $missed));
    same(range($missed, 99), $read);
});
test('the later connection wins, the older one is told and stays away', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60']);
    $older = new Client($server->address(), RESUME);
    $later = new Client($server->address() . "?resume={$older->uuid()}&seq=0");
    same($older->uuid(), $later->uuid());
    $e = throws(ClosedException::class, static function () use ($older): void {
        $older->read(5.0);
    }, 'Resumed on another connection');
    same(4000, $e->closeCode());
    throws(ClosedException::class, static function () use ($older): void {
        $older->broadcast('x');
    });
    same(['later', true], [$later->echo('later')['message'], $later->isOpen()]);
});
test('a client that has closed is gone', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60']);
    $client = new Client($server->address(), RESUME);
    $client->close();
    $other = new Client($server->address() . "?resume={$client->uuid()}&seq=0");
    holds($other->uuid() !== $client->uuid(), 'the uuid is a new one');
});
test('a connection that a client gives up is no goodbye, nor is one without a close frame', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '60']);
    foreach ([pack('n', 4001), null] as $payload) {
        $page = new Wire($server->address());
        $page->write("GET /web?resume= HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://127.0.0.1\r\n"
            . 'Sec-WebSocket-Version: 13' . "\r\nSec-WebSocket-Key: " . base64_encode(random_bytes(16)) . "\r\n\r\n");
        while (preg_match('/"uuid":"([^"]+)"/', $page->bytes, $found) !== 1) {
            holds($page->more(microtime(true) + 5.0), 'ready comes');
        }
        if ($payload !== null) {
            $page->write(client_frame(8, $payload));
            $page->more(microtime(true) + 5.0);
        }
        $page->close();
        $back = new BrowserClient($server->address(), "/web?resume={$found[1]}&seq=0");
        same($found[1], $back->uuid);
    }
});
test('a server that keeps nobody, or is started anew, gives a new client', static function () use ($binary): void {
    $server = new Server($binary, 0, ['--resume-time', '0']);
    $client = new Client($server->address(), RESUME);
    $client->join('room');
    same(['new', 0], [$client->lastResume(), $client->lastSeq()]);
    foreach (['0', '60'] as $time) {
        $server->stop(9);
        $server = new Server($binary, $server->port, ['--resume-time', $time]);
        $client->broadcast('x');
        same('lost', $client->lastResume());
    }
    $other = new Client($server->address());
    same(1, $other->who('room')['count']);
});

finish();
