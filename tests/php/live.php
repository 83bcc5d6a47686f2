<?php

/*
 * The client against a running server.
 *
 *     php live.php ADDRESS [CAFILE]
 *
 * ADDRESS is ws://host:port or, with the certificate that vouches for it in CAFILE, wss://host:port.
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\ArgumentException;
use Phpws\Client;
use Phpws\ClosedException;
use Phpws\ConnectException;
use Phpws\RefusedException;

[$root, $cafile] = given('ADDRESS [CAFILE]', 120);
$options = ['timeout' => 10.0, 'ssl' => $cafile === '' ? [] : ['cafile' => $cafile]];

$client = static function (array $more = []) use ($root, $options): Client {
    return new Client("$root/php", $more + $options);
};
$browser = static function (string $resource = '/web', string $ident = '') use ($root, $cafile): BrowserClient {
    return new BrowserClient($root, $resource, $cafile, $ident);
};

test('a client connects and has a uuid of its own', static function () use ($client): void {
    [$one, $other] = [$client(), $client()];
    holds($one->uuid() !== '' && $one->uuid() !== $other->uuid(), 'the uuids differ');
    holds($one->isOpen() && $other->isOpen(), 'both are open');
    $one->close();
    same([false, true], [$one->isOpen(), $other->isOpen()]);
});
test('echo brings back what went, whatever it is', static function () use ($client): void {
    $server = $client();
    $messages = ['text', '', 'grüße € 🙂', "line\nbreak \" \\ / \u{7f}", '007', '1e3', 0, -1, PHP_INT_MAX, 1.5, true, false, null, [], [1, [2, ['k' => 'v']]],
        str_repeat('ä', 100), str_repeat('x', 125), str_repeat('x', 65535), str_repeat('ü', 100000)];
    foreach ($messages as $message) {
        $packet = $server->echo($message);
        same(['echo', $message], [$packet['opcode'], $packet['message']]);
    }
});
test('feedback reaches the browser with that uuid, whole, and no other', static function () use ($client, $browser): void {
    [$server, $right, $wrong] = [$client(), $browser(), $browser('/')];
    $server->feedback('doing some work', $right->uuid, ['progress' => 7, 'unknown' => ['key' => '01']]);
    $packet = $right->packet(5.0);
    same(['feedback', 'doing some work', $server->uuid(), 7, ['key' => '01']], [$packet['opcode'] ?? null, $packet['message'], $packet['fromUUID'], $packet['progress'], $packet['unknown']]);
    same(null, $wrong->packet(0.2), 'what the other browser got');
});
test('feedback to an unknown uuid or ident is acknowledged and goes nowhere', static function () use ($client, $browser): void {
    [$server, $someone] = [$client(), $browser()];
    $server->feedback('x', 'no-such-uuid');
    $server->feedbackTo('x', 'no-such-ident');
    same([0, null], [$server->unacknowledged(), $someone->packet(0.2)]);
});
test('100 feedbacks to a browser arrive in order', static function () use ($client, $browser): void {
    [$server, $page] = [$client(), $browser()];
    $sent = [];
    for ($i = 0; $i < 100; $i++) {
        $server->feedback($sent[] = "loop $i", $page->uuid);
    }
    same($sent, $page->messages(100, 5.0));
});
test('50 feedbacks in a row to a receiver by ident arrive in order', static function () use ($client): void {
    $receiver = $client(['ident' => 'receiver-' . getmypid()]);
    $sender = $client();
    $sent = [];
    for ($i = 0; $i < 50; $i++) {
        $sender->feedbackTo($sent[] = "message $i", 'receiver-' . getmypid());
    }
    $read = [];
    while (count($read) < 50 && ($packet = $receiver->read(5.0)) !== null) {
        $read[] = $packet['message'];
    }
    same($sent, $read);
    same(null, $receiver->read(0.1), 'what came after them');
});
test('a receiver that sends meanwhile mixes up nothing', static function () use ($client): void {
    $ident = 'busy-' . getmypid();
    [$receiver, $sender] = [$client(['ident' => $ident]), $client()];
    $read = [];
    for ($i = 0; $i < 50; $i++) {
        $sender->feedbackTo($i, $ident);
        same("echo $i", $receiver->echo("echo $i")['message']);
        while (($packet = $receiver->read(0.0)) !== null) {
            $read[] = $packet['message'];
        }
    }
    while (count($read) < 50 && ($packet = $receiver->read(5.0)) !== null) {
        $read[] = $packet['message'];
    }
    same(range(0, 49), $read);
});
test('an ident names a browser too, and may hold umlauts', static function () use ($client, $browser): void {
    $ident = 'bürö-' . getmypid();
    [$server, $page] = [$client(), $browser('/web', $ident)];
    $server->feedbackTo('for the büro', $ident);
    same(['for the büro'], $page->messages(1, 5.0));
});
test('a broadcast of 20 KB with umlauts reaches all browsers and no script', static function () use ($client, $browser): void {
    [$server, $script] = [$client(), $client(['ident' => 'bystander'])];
    $pages = [$browser('/web'), $browser('/web'), $browser('/'), $browser('/php')];
    $text = 'äüöÄÜÖß€' . str_repeat('P', 20000) . ' ÄÜÖßäüö "quoted" \\ /';
    $server->broadcast($text, ['kind' => 'long']);
    foreach ($pages as $i => $page) {
        $packet = $page->packet(5.0);
        holds(($packet['message'] ?? '') === $text, "browser $i got the text as it was");
        same(['broadcast', 'long'], [$packet['opcode'], $packet['kind']]);
    }
    same([null, null], [$script->read(0.2), $server->read(0.0)], 'what the scripts got');
});
test('a room is joined, counted and left', static function () use ($client): void {
    [$one, $other] = [$client(), $client()];
    $room = 'count ' . getmypid();
    same([1, 2, 2], [$one->join($room), $other->join($room), $other->join($room)]);
    same([2, 1, 0], [$client()->who($room)['count'], $one->leave($room), $other->leave($room)]);
    throws(RefusedException::class, static function () use ($one, $room): void {
        $one->leave($room);
    }, 'Not a member');
    throws(ArgumentException::class, static function () use ($one): void {
        $one->broadcastTo('to everybody?', '');
    });
    same('still here', $one->echo('still here')['message']);
});
test('a broadcast to a room reaches its members, browsers and scripts, and nobody else', static function () use ($client, $browser): void {
    $room = 'bürö 7 ' . getmypid();
    [$server, $member, $outside] = [$client(), $client(), $browser()];
    [$page, $announced] = [$browser('/'), ['opcode' => 'presence', 'room' => $room]];
    $page->send(['opcode' => 'join', 'room' => $room, 'announce' => true]);
    same('joined', $page->packet(5.0)['opcode'] ?? null);
    same($announced + ['count' => 1, 'joined' => 1], $page->packet(5.0));
    same(2, $member->join($room, 'a script'));
    same($announced + ['count' => 2, 'joined' => 1], $page->packet(5.0));
    same($announced + ['count' => 2, 'joined' => 1], $member->read(5.0));
    for ($i = 0; $i < 20; $i++) {
        $server->broadcastTo($i, $room, ['kind' => 'room']);
    }
    same(range(0, 19), $page->messages(20, 5.0));
    for ($i = 0; $i < 20; $i++) {
        $packet = $member->read(5.0);
        same([$i, $room, 'room'], [$packet['message'], $packet['room'], $packet['kind']]);
    }
    $member->close();
    same($announced + ['count' => 1, 'left' => 1], $page->packet(5.0));
    same([null, null], [$outside->packet(0.2), $server->read(0.0)], 'what the others got');
});
test('a browser\'s feedback by ident reaches a script', static function () use ($client, $browser): void {
    $ident = 'worker-' . getmypid();
    [$script, $page] = [$client(['ident' => $ident]), $browser()];
    $page->send(['opcode' => 'feedback', 'ident' => $ident, 'uuid' => '', 'message' => 'go on']);
    same('go on', $script->read(5.0)['message'] ?? null);
});
test('unknown opcodes and packets without one are acknowledged', static function () use ($client): void {
    $server = $client();
    foreach ([['opcode' => 'no such thing'], [], ['message' => 'x'], ['opcode' => 7], ['opcode' => 'jsonerror']] as $packet) {
        $server->send($packet);
    }
    same('still here', $server->echo('still here')['message']);
});
test('quit is acknowledged, then the server closes', static function () use ($client): void {
    $server = $client(['reconnect' => 0]);
    $server->send(['opcode' => 'quit']);
    throws(ClosedException::class, static function () use ($server): void {
        $server->read(5.0);
    });
    same(false, $server->isOpen(), 'isOpen()');
});
test('an unknown resource gives a ClosedException; a query makes no other resource', static function () use ($root, $options): void {
    same('x', (new Client("$root/php?x=1", $options))->echo('x')['message']);
    foreach (['/nowhere', '/php/', '/PHP'] as $resource) {
        throws(ClosedException::class, static function () use ($root, $resource, $options): void {
            new Client($root . $resource, $options);
        });
    }
});
test('a wrong port gives a ConnectException', static function () use ($root, $options): void {
    $listener = stream_socket_server('tcp://127.0.0.1:0');
    $port = (int) substr((string) strrchr((string) stream_socket_get_name($listener, false), ':'), 1);
    fclose($listener);
    throws(ConnectException::class, static function () use ($root, $port, $options): void {
        new Client(preg_replace('/:\d+$/', ":$port", $root), $options);
    });
});
test('connecting 200 times in a tight loop never fails', static function () use ($client): void {
    $uuids = [];
    for ($i = 0; $i < 200; $i++) {
        $uuids[$client()->uuid()] = true;
    }
    same(200, count($uuids), 'different uuids');
});
test('200 connections may be open at once, and each is served', static function () use ($client): void {
    $all = [];
    for ($i = 0; $i < 200; $i++) {
        $all[] = $client();
    }
    foreach ($all as $i => $one) {
        same($i, $one->echo($i)['message']);
    }
});
test('a loop of feedbacks is not slowed down by delayed acknowledgements', static function () use ($client, $browser): void {
    [$server, $page] = [$client(), $browser()];
    $start = microtime(true);
    for ($i = 0; $i < 100; $i++) {
        $server->echo($i);
        $server->feedback($i, $page->uuid);
    }
    $took = microtime(true) - $start;
    // A delayed ACK costs 40 ms a packet, 8 s in all.
    holds($took < 4.0, sprintf('200 packets took less than 4 s (they took %.2f s)', $took));
    same(range(0, 99), $page->messages(100, 5.0));
});

if (Wire::endpoint($root)[1]) {
    test('a self-signed certificate is refused without a cafile, and the hint says so', static function () use ($root): void {
        throws(ConnectException::class, static function () use ($root): void {
            new Client("$root/php", ['timeout' => 5.0]);
        }, 'cafile');
    });
    test('a certificate for another name is refused', static function () use ($root, $cafile): void {
        throws(ConnectException::class, static function () use ($root, $cafile): void {
            new Client("$root/php", ['timeout' => 5.0, 'ssl' => ['cafile' => $cafile, 'peer_name' => 'other.example']]);
        });
    });
    test('a script may waive the checks, but only in so many words', static function () use ($root): void {
        $server = new Client("$root/php", ['timeout' => 5.0, 'ssl' => ['verify_peer' => false, 'verify_peer_name' => false, 'allow_self_signed' => true]]);
        same('x', $server->echo('x')['message']);
    });
    test('ws towards a wss port fails clearly', static function () use ($root): void {
        throws(Phpws\Exception::class, static function () use ($root): void {
            new Client(str_replace('wss:', 'ws:', "$root/php"), ['timeout' => 5.0]);
        });
    });
    test('a message of nearly 1 MB goes through TLS in both directions', static function () use ($client): void {
        $text = str_repeat('0123456789abcdef', 60000);
        holds($client()->echo($text)['message'] === $text, 'it comes back intact');
    });
}

finish();
