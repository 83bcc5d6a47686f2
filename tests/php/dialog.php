<?php

/*
 * The client's dialog, against a server that does what each test tells it: whatever a real one
 * does only now and then.
 *
 *     php dialog.php
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\ArgumentException;
use Phpws\Client;
use Phpws\ClosedException;
use Phpws\ConnectException;
use Phpws\HandshakeException;
use Phpws\ProtocolException;
use Phpws\TimeoutException;

time_limit(120);

const QUICK = ['timeout' => 5.0, 'backoff' => 0.02];

function feedback_frame(string $message): string
{
    return packet_frame(['opcode' => 'feedback', 'ident' => 'me', 'message' => $message]);
}

function close_frame(int $code, string $reason = ''): string
{
    return server_frame(8, pack('n', $code) . $reason);
}

/** A respond step: raw bytes instead of the 101. */
function answer_with(string $bytes): FakeServer
{
    return new FakeServer([['request'], ['write', base64_encode($bytes)]]);
}

// --- opening ----------------------------------------------------------------------------------

test('the request names the client, and ready gives it its uuid', static function (): void {
    $server = new FakeServer([FakeServer::ready('the-uuid'), ['drain']]);
    $client = new Client($server->address, ['ident' => 'me', 'headers' => ['Cookie' => 'a=b']] + QUICK);
    same('the-uuid', $client->uuid());
    $client->close();
    $request = $server->received()[0]['request'];
    foreach (['GET /php HTTP/1.1', 'Client-Type: php', 'Ident: me', 'Origin: http://127.0.0.1:', 'Cookie: a=b'] as $part) {
        holds(strpos($request, $part) !== false, "the request contains \"$part\"");
    }
});
test('the 101 and ready may come byte by byte', static function (): void {
    $server = new FakeServer([['accept'], ['write', base64_encode(packet_frame(['opcode' => 'ready', 'uuid' => 'slow'])), 1], ['drain']]);
    same('slow', (new Client($server->address, QUICK))->uuid());
});
test('packets before and right behind ready are kept', static function (): void {
    $behind = packet_frame(['opcode' => 'ready', 'uuid' => 'u']) . feedback_frame('second') . feedback_frame('third');
    $server = new FakeServer([['accept', base64_encode(feedback_frame('first') . $behind)], ['drain']]);
    $client = new Client($server->address, QUICK);
    foreach (['first', 'second', 'third'] as $message) {
        same($message, $client->read(2.0)['message'] ?? null);
    }
});
test('a refusal gives a HandshakeException with status and line', static function (): void {
    $server = answer_with("HTTP/1.1 403 Forbidden\r\nContent-Length: 101\r\n\r\nno php clients from here\r\n");
    $e = throws(HandshakeException::class, static function () use ($server): void {
        new Client($server->address, QUICK);
    }, '403');
    same([403, 'no php clients from here'], [$e->status(), $e->line()]);
});
test('a refusal without an end is understood too', static function (): void {
    $server = answer_with('HTTP/1.1 400 Bad Request');
    $e = throws(HandshakeException::class, static function () use ($server): void {
        new Client($server->address, QUICK);
    });
    same(400, $e->status());
});
test('an answer that is no HTTP, none at all, or one without end gives a HandshakeException', static function (): void {
    foreach (['{"opcode":"close"}', '', "\x15\x03\x03\0\x02\x02\x46", "HTTP/1.1 101 X\r\n" . str_repeat("A: b\r\n", 5000)] as $bytes) {
        $server = answer_with($bytes);
        throws(HandshakeException::class, static function () use ($server): void {
            new Client($server->address, QUICK);
        });
    }
});
test('an accept value of another request is refused', static function (): void {
    $server = answer_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    throws(HandshakeException::class, static function () use ($server): void {
        new Client($server->address, QUICK);
    }, 'another request');
});
test('silence in place of the 101 or of ready gives a TimeoutException in time', static function (): void {
    foreach ([[['request'], ['drain']], [['accept'], ['drain']], [['accept', base64_encode(server_frame(9, 'x'))], ['drain']]] as $steps) {
        $server = new FakeServer($steps);
        $start = microtime(true);
        throws(TimeoutException::class, static function () use ($server): void {
            new Client($server->address, ['timeout' => 0.3]);
        }, 'in time');
        $took = microtime(true) - $start;
        holds($took > 0.25 && $took < 3.0, "it took $took s");
    }
});
test('close in place of ready gives a ClosedException with all that was said', static function (): void {
    $frames = packet_frame(['opcode' => 'close', 'error' => 'Too many connections']) . close_frame(1008, 'full');
    $server = new FakeServer([['accept', base64_encode($frames)]]);
    $e = throws(ClosedException::class, static function () use ($server): void {
        new Client($server->address, QUICK);
    }, 'Too many connections');
    same([1008, 'full', 'Too many connections'], [$e->closeCode(), $e->reason(), $e->error()]);
});
test('close without a close frame, and without an end, is enough', static function (): void {
    foreach ([[], [['drain']]] as $rest) {
        $server = new FakeServer(array_merge([['accept', base64_encode(packet_frame(['opcode' => 'close']))]], $rest));
        $e = throws(ClosedException::class, static function () use ($server): void {
            new Client($server->address, QUICK);
        }, 'told this client to close');
        same(1006, $e->closeCode());
    }
});
test('who only polls hears the close frame behind close too', static function (): void {
    $server = new FakeServer([FakeServer::ready(), FakeServer::bytes(packet_frame(['opcode' => 'close'])), ['pause', 0.2], FakeServer::bytes(close_frame(1001)), ['drain']]);
    $client = new Client($server->address, QUICK);
    while ($client->isOpen()) {
        usleep(1000);
    }
    $e = throws(ClosedException::class, static function () use ($client): void {
        $client->read(0.0);
    });
    same([1001, true], [$e->closeCode(), $e->isTemporary()]);
});
test('a 101 without an end is refused', static function (): void {
    $server = answer_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
    throws(HandshakeException::class, static function () use ($server): void {
        new Client($server->address, QUICK);
    }, 'no end');
});
test('a port where nobody listens gives a ConnectException', static function (): void {
    $listener = stream_socket_server('tcp://127.0.0.1:0');
    $name = stream_socket_get_name($listener, false);
    fclose($listener);
    throws(ConnectException::class, static function () use ($name): void {
        new Client("ws://$name/php", QUICK);
    }, 'refused');
});
test('TLS towards a server without it gives a ConnectException in time', static function (): void {
    $server = new FakeServer([['drain']]);
    throws(ConnectException::class, static function () use ($server): void {
        new Client(str_replace('ws:', 'wss:', $server->address), ['timeout' => 0.5]);
    }, 'no TLS connection');
    $server = answer_with("HTTP/1.1 400 Bad Request\r\n\r\n");
    throws(ConnectException::class, static function () use ($server): void {
        new Client(str_replace('ws:', 'wss:', $server->address), ['timeout' => 0.5]);
    }, 'no TLS connection');
});

// --- sending and reading ----------------------------------------------------------------------

test('each send waits for its next', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect'], ['pause', 0.3], FakeServer::bytes(FakeServer::next()), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, QUICK);
    $start = microtime(true);
    $client->feedback('grüße', 'a-uuid', ['progress' => 7]);
    holds(microtime(true) - $start > 0.25, 'the send has waited');
    $client->feedbackTo(['list' => [1, 2]], 'someone');
    $client->close();
    $packets = FakeServer::packets($server->received()[0]);
    same(['opcode' => 'feedback', 'ident' => '', 'uuid' => 'a-uuid', 'message' => 'grüße', 'fromUUID' => 'own-uuid', 'progress' => 7], $packets[0]);
    same(['opcode' => 'feedback', 'ident' => 'someone', 'uuid' => '', 'message' => ['list' => [1, 2]], 'fromUUID' => 'own-uuid'], $packets[1]);
});
test('extra keys cannot change what a packet is', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, QUICK);
    $client->broadcast('text', ['opcode' => 'quit', 'message' => 'other', 'key' => 1]);
    $client->close();
    same(['opcode' => 'broadcast', 'message' => 'text', 'key' => 1], FakeServer::packets($server->received()[0])[0]);
});
test('what cannot be sent is refused, and the connection goes on', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, QUICK);
    foreach (['message', 'uuid', 'ident'] as $case) {
        throws(ArgumentException::class, static function () use ($client, $case): void {
            switch ($case) {
                case 'message':
                    $client->broadcast("\xff");
                    break;
                case 'uuid':
                    $client->feedback('x', '');
                    break;
                default:
                    $client->feedbackTo('x', '');
            }
        });
    }
    $client->broadcast('good');
    same(0, $client->unacknowledged());
    $client->close();
    same(1, count(FakeServer::packets($server->received()[0])), 'packets that arrived');
});
test('packets that come before, with and behind next are kept in order', static function (): void {
    $burst = feedback_frame('1') . feedback_frame('2') . FakeServer::next() . feedback_frame('3') . feedback_frame('4');
    $server = new FakeServer([FakeServer::ready(), ['expect'], FakeServer::bytes($burst), ['drain']]);
    $client = new Client($server->address, QUICK);
    $client->send(['opcode' => 'anything']);
    foreach (['1', '2', '3', '4'] as $message) {
        same($message, $client->read(2.0)['message'] ?? null);
    }
    same(null, $client->read(0.0));
});
test('a message in fragments with a ping between them is one packet, and the ping is answered', static function (): void {
    $text = json_encode(['opcode' => 'feedback', 'message' => 'grüße'], JSON_UNESCAPED_UNICODE);
    $frames = server_frame(1, substr($text, 0, 37), false) . server_frame(9, '{"opcode":"PING"}') . server_frame(0, substr($text, 37, 1), false) . server_frame(0, substr($text, 38));
    $server = new FakeServer([FakeServer::ready(), ['write', base64_encode($frames), 5], ['expect'], ['drain']]);
    $client = new Client($server->address, QUICK);
    same('grüße', $client->read(2.0)['message'] ?? null);
    $client->close();
    same([10, '{"opcode":"PING"}', true], $server->received()[0]['frames'][0], 'the pong');
});
test('packets of 126, 65535, 65536 and 3 million bytes are read', static function (): void {
    $messages = [];
    foreach ([100, 65500, 65536, 3000000] as $length) {
        $messages[] = str_repeat('x', $length - 1) . 'y';
    }
    $server = new FakeServer([FakeServer::ready(), FakeServer::bytes(...array_map('feedback_frame', $messages)), ['drain']]);
    $client = new Client($server->address, QUICK);
    foreach ($messages as $message) {
        holds(($client->read(5.0)['message'] ?? null) === $message, 'a packet of ' . strlen($message) . ' arrives whole');
    }
});
test('a long message to a slow server arrives whole, and pings meanwhile do not break it', static function (): void {
    $pings = str_repeat(server_frame(9, 'still there?'), 20);
    $server = new FakeServer([FakeServer::ready(), FakeServer::bytes($pings), ['pause', 0.5], FakeServer::bytes($pings), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, ['timeout' => 15.0]);
    $text = str_repeat('0123456789abcdef', 500000);
    $client->broadcast($text);
    $client->close();
    $received = $server->received()[0];
    holds($received['frames'][0][0] === 1, 'the first frame is the message, no pong is inside it');
    holds(FakeServer::packets($received)[0]['message'] === $text, 'the message is intact');
    $pongs = array_filter($received['frames'], static function (array $frame): bool {
        return $frame[0] === 10 && $frame[1] === 'still there?';
    });
    same(40, count($pongs), 'pongs');
});
test('both sides may write much at the same time', static function (): void {
    $much = str_repeat('m', 6000000);
    $server = new FakeServer([FakeServer::ready(), FakeServer::bytes(feedback_frame($much)), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, ['timeout' => 15.0]);
    $client->broadcast($much);
    holds($client->read(5.0)['message'] === $much, 'what came meanwhile is intact');
    $client->close();
    holds(FakeServer::packets($server->received()[0])[0]['message'] === $much, 'what went is intact');
});
test('read tells nothing-yet from closed, and gives what came before the end', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['pause', 1.2], FakeServer::bytes(feedback_frame('last words'), close_frame(1001, 'bye')), ['drain']]);
    $client = new Client($server->address, QUICK);
    $start = microtime(true);
    same(null, $client->read(0.1));
    $took = microtime(true) - $start;
    holds($took > 0.09 && $took < 1.0, "it took $took s");
    same(true, $client->isOpen(), 'isOpen()');
    same('last words', $client->read()['message'] ?? null);
    for ($i = 0; $i < 2; $i++) {
        $e = throws(ClosedException::class, static function () use ($client): void {
            $client->read(2.0);
        }, 'bye');
        same(1001, $e->closeCode());
    }
    same(false, $client->isOpen(), 'isOpen()');
    $answer = $server->received()[0]['frames'][0];
    same([8, "\x03\xe9", true], $answer, 'the answer to the close frame');
});
test('isOpen notices the end, and read still gives what came', static function (): void {
    $server = new FakeServer([FakeServer::ready(), FakeServer::bytes(feedback_frame('kept'))]);
    $client = new Client($server->address, QUICK);
    $server->received();
    same(false, $client->isOpen());
    same('kept', $client->read(0.0)['message'] ?? null);
    throws(ClosedException::class, static function () use ($client): void {
        $client->read(0.0);
    }, 'lost');
});
test('echo finds its answer before or behind next, among other packets', static function (): void {
    $echo = static function (string $message): string {
        return packet_frame(['opcode' => 'echo', 'message' => $message]);
    };
    $server = new FakeServer([
        FakeServer::ready(),
        ['expect'], FakeServer::bytes(feedback_frame('a'), $echo('one'), feedback_frame('b'), FakeServer::next()),
        ['expect'], FakeServer::bytes(FakeServer::next()), ['pause', 0.1], FakeServer::bytes($echo('stranger'), feedback_frame('c'), $echo('two')),
        ['drain'],
    ]);
    $client = new Client($server->address, QUICK);
    same(['opcode' => 'echo', 'message' => 'one'], $client->echo('one'));
    same(['opcode' => 'echo', 'message' => 'two'], $client->echo('two'));
    $rest = [];
    while (($packet = $client->read(0.0)) !== null) {
        $rest[] = $packet['message'];
    }
    same(['a', 'b', 'stranger', 'c'], $rest);
});
test('an echo that does not come gives a TimeoutException', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, ['timeout' => 0.3]);
    throws(TimeoutException::class, static function () use ($client): void {
        $client->echo('x');
    }, 'no echo');
});
test('a missing next gives a TimeoutException, and a late one is not taken for another\'s', static function (): void {
    $server = new FakeServer([
        FakeServer::ready(), ['expect'], ['pause', 1.2], FakeServer::bytes(FakeServer::next()),
        ['expect'], ['pause', 0.3], FakeServer::bytes(FakeServer::next()), ['drain'],
    ]);
    $client = new Client($server->address, ['timeout' => 1.0]);
    throws(TimeoutException::class, static function () use ($client): void {
        $client->broadcast('slow');
    }, 'no acknowledgement');
    same(1, $client->unacknowledged());
    $start = microtime(true);
    $client->broadcast('after');
    holds(microtime(true) - $start > 0.35, 'the second send has waited for its own next');
    same(0, $client->unacknowledged());
    $client->close();
    same(['slow', 'after'], array_column(FakeServer::packets($server->received()[0]), 'message'), 'each arrived once');
});

// --- closing ----------------------------------------------------------------------------------

test('close sends 1000, waits for the answer, and is final', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect'], FakeServer::bytes(feedback_frame('still'), close_frame(1000)), ['drain']]);
    $client = new Client($server->address, QUICK);
    $client->close();
    $client->close();
    same(false, $client->isOpen());
    same('still', $client->read(0.0)['message'] ?? null, 'what came while closing');
    foreach (['read', 'send'] as $method) {
        throws(ClosedException::class, static function () use ($client, $method): void {
            $method === 'read' ? $client->read(0.0) : $client->broadcast('x');
        }, 'by this client');
    }
    $received = $server->received()[0];
    same([[8, "\x03\xe8", true]], $received['frames'], 'the frames of the client');
    same(true, $received['ended'], 'the client has hung up');
});
test('a server that does not answer a close frame does not hold the client up', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['drain', false]]);
    $client = new Client($server->address, QUICK);
    $start = microtime(true);
    $client->close();
    holds(microtime(true) - $start < 2.0, 'close came back');
});
test('a client that is dropped says goodbye too', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['drain']]);
    $client = new Client($server->address, QUICK);
    unset($client);
    $received = $server->received()[0];
    same([8, true], [$received['frames'][0][0] ?? null, $received['ended']]);
});
test('a breach of the protocol closes with its code, and stays a ProtocolException', static function (): void {
    $breaches = [
        [client_frame(1, '{}'), 1002], [server_frame(1, 'no JSON'), 1007], [server_frame(1, '"text"'), 1007],
        [server_frame(1, "{\"a\":\"\xff\"}"), 1007], [server_frame(2, '{}'), 1003], [server_frame(3, ''), 1002],
        [server_frame(1, str_repeat(' ', 1001)), 1009], [server_frame(8, "\x03"), 1002], [close_frame(1005), 1002],
        [close_frame(999), 1002], [close_frame(1000, "\xff"), 1007],
    ];
    foreach ($breaches as $i => [$bytes, $code]) {
        $server = new FakeServer([FakeServer::ready(), FakeServer::bytes($bytes), ['drain']]);
        $client = new Client($server->address, ['max_message' => 1000] + QUICK);
        $e = throws(ProtocolException::class, static function () use ($client): void {
            $client->read(2.0);
        });
        same($code, $e->closeCode(), "the code of breach $i");
        throws(ProtocolException::class, static function () use ($client): void {
            $client->broadcast('x');
        });
        $frame = $server->received()[0]['frames'][0];
        same([8, pack('n', $code)], [$frame[0], substr($frame[1], 0, 2)], "the close frame after breach $i");
    }
});
test('a close frame without a code is answered by one without', static function (): void {
    $server = new FakeServer([FakeServer::ready(), FakeServer::bytes(server_frame(8, '')), ['drain']]);
    $client = new Client($server->address, QUICK);
    $e = throws(ClosedException::class, static function () use ($client): void {
        $client->read(2.0);
    });
    same(1005, $e->closeCode());
    same([8, '', true], $server->received()[0]['frames'][0]);
});
test('a server that refuses a message while it is being written is heard', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['pause', 0.2], FakeServer::bytes(packet_frame(['opcode' => 'close', 'error' => 'too long']), close_frame(1009, 'too long')), ['drain']]);
    $client = new Client($server->address, QUICK);
    $e = throws(ClosedException::class, static function () use ($client): void {
        $client->broadcast(str_repeat('x', 9000000));
    }, 'too long');
    same([1009, 'too long', 'too long'], [$e->closeCode(), $e->reason(), $e->error()]);
});

// --- coming back ------------------------------------------------------------------------------

test('after a loss only what was not acknowledged is sent again, with the new uuid', static function (): void {
    $server = new FakeServer(
        [FakeServer::ready('first'), ['expect'], FakeServer::bytes(FakeServer::next()), ['expect']],
        [FakeServer::ready('second'), ['expect'], FakeServer::bytes(FakeServer::next()), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]
    );
    $client = new Client($server->address, QUICK);
    $client->feedback('one', 'browser');
    $client->feedback('two', 'browser');
    same('second', $client->uuid());
    $client->feedback('three', 'browser');
    $client->close();
    [$first, $second] = array_map([FakeServer::class, 'packets'], $server->received());
    same(['one', 'two'], array_column($first, 'message'));
    same(['two', 'three'], array_column($second, 'message'));
    same(['first', 'first', 'second', 'second'], array_column(array_merge($first, $second), 'fromUUID'));
});
test('several packets without acknowledgement are sent again in order', static function (): void {
    $server = new FakeServer(
        [FakeServer::ready(), ['expect', 3], FakeServer::bytes(FakeServer::next()), ['expect']],
        [FakeServer::ready(), ['expect', 3], FakeServer::bytes(str_repeat(FakeServer::next(), 3)), ['drain']]
    );
    $client = new Client($server->address, ['timeout' => 0.7] + QUICK);
    foreach (['one', 'two', 'three'] as $message) {
        throws(TimeoutException::class, static function () use ($client, $message): void {
            $client->broadcast($message);
        });
    }
    $client->broadcast('four');
    same(0, $client->unacknowledged());
    $client->close();
    $received = array_map([FakeServer::class, 'packets'], $server->received());
    same(['one', 'two', 'three', 'four'], array_column($received[0], 'message'));
    same(['two', 'three', 'four'], array_column($received[1], 'message'));
});
test('a loss noticed while reading is mended by the next send', static function (): void {
    $server = new FakeServer([FakeServer::ready('first')], [FakeServer::ready('second'), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, QUICK);
    throws(ClosedException::class, static function () use ($client): void {
        $client->read(2.0);
    });
    $client->broadcast('again here');
    same('second', $client->uuid());
});
test('reconnect 0 gives the loss to the caller', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect']], [FakeServer::ready(), ['drain']]);
    $client = new Client($server->address, ['reconnect' => 0] + QUICK);
    for ($i = 0; $i < 2; $i++) {
        throws(ClosedException::class, static function () use ($client): void {
            $client->broadcast('x');
        }, 'lost');
    }
    same(0, $client->unacknowledged());
    $client->connect();
    same(true, $client->isOpen(), 'isOpen() after connect()');
});
test('a server that means it is not asked again', static function (): void {
    $endings = [
        FakeServer::bytes(close_frame(1008, 'no')), FakeServer::bytes(close_frame(1009)), FakeServer::bytes(close_frame(1000)),
        FakeServer::bytes(packet_frame(['opcode' => 'close', 'error' => 'no'])),
    ];
    foreach ($endings as $ending) {
        $server = new FakeServer([FakeServer::ready(), ['expect'], $ending], [FakeServer::ready(), ['drain']]);
        $client = new Client($server->address, QUICK);
        throws(ClosedException::class, static function () use ($client): void {
            $client->broadcast('x');
        });
        same('own-uuid', $client->uuid());
        same(false, $client->isOpen(), 'isOpen()');
    }
});
test('a restart (1001, 1012) is waited for, through refusals that may pass', static function (): void {
    foreach ([1001, 1012] as $code) {
        $server = new FakeServer(
            [FakeServer::ready(), ['expect'], FakeServer::bytes(packet_frame(['opcode' => 'close']), close_frame($code)), ['drain']],
            [['request'], ['write', base64_encode("HTTP/1.1 503 Service Unavailable\r\n\r\n")]],
            [['request']],
            [FakeServer::ready('back'), ['expect'], FakeServer::bytes(FakeServer::next()), ['drain']]
        );
        $client = new Client($server->address, QUICK);
        $client->broadcast('x');
        same('back', $client->uuid());
    }
});
test('a refusal that will not pass ends the attempts', static function (): void {
    $server = new FakeServer(
        [FakeServer::ready(), ['expect']],
        [['request'], ['write', base64_encode("HTTP/1.1 403 Forbidden\r\n\r\n")]],
        [FakeServer::ready(), ['drain']]
    );
    $client = new Client($server->address, QUICK);
    throws(HandshakeException::class, static function () use ($client): void {
        $client->broadcast('x');
    }, '403');
});
test('after so many attempts the client gives up, and a later send tries again', static function (): void {
    $server = new FakeServer([FakeServer::ready(), ['expect']]);
    $client = new Client($server->address, ['reconnect' => 2, 'backoff' => 0.1] + QUICK);
    $start = microtime(true);
    throws(ConnectException::class, static function () use ($client): void {
        $client->broadcast('x');
    }, 'refused');
    $took = microtime(true) - $start;
    holds($took > 0.07 && $took < 3.0, "it took $took s");
    throws(ConnectException::class, static function () use ($client): void {
        $client->broadcast('x');
    }, 'refused');
    same(0, $client->unacknowledged());
});
test('attempts are counted within one send, also if each connection is lost again', static function (): void {
    $lost = [FakeServer::ready(), ['expect']];
    $server = new FakeServer($lost, $lost, $lost, $lost);
    $client = new Client($server->address, ['reconnect' => 3] + QUICK);
    throws(ClosedException::class, static function () use ($client): void {
        $client->broadcast('x');
    }, 'lost');
    same([1, 1, 1, 1], array_map(static function (array $connection): int {
        return count(FakeServer::packets($connection));
    }, $server->received()), 'packets on each connection');
});

finish();
