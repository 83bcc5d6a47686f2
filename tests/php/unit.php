<?php

/*
 * The client's parts that know no socket: frames, JSON, addresses, handshake, options.
 *
 *     php unit.php
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\Address;
use Phpws\ArgumentException;
use Phpws\ClosedException;
use Phpws\Frame;
use Phpws\Handshake;
use Phpws\HandshakeException;
use Phpws\Inbox;
use Phpws\Json;
use Phpws\Options;
use Phpws\ProtocolException;
use Phpws\Publisher;
use Phpws\PublishException;

time_limit(60);

/** @return array<int, array{0: int, 1: string}> all that the inbox makes of the pieces */
function decoded(array $pieces, int $maxMessage = 0): array
{
    $inbox = new Inbox($maxMessage);
    $messages = [];
    foreach ($pieces as $piece) {
        $inbox->feed($piece);
        while (($frame = $inbox->next()) !== null) {
            $messages[] = [$frame->opcode, $frame->payload];
        }
    }
    return $messages;
}

function refused(string $bytes, string $containing, int $closeCode = 1002, int $maxMessage = 0): void
{
    foreach ([[$bytes], str_split($bytes)] as $pieces) {
        $e = throws(ProtocolException::class, static function () use ($pieces, $maxMessage): void {
            decoded($pieces, $maxMessage);
        }, $containing);
        same($closeCode, $e->closeCode(), 'the close code');
    }
}

function text_of(int $length): string
{
    return substr(str_repeat('abcdefghijklmnopqrstuvwxyz 0123456789 ', intdiv($length, 38) + 1), 0, $length);
}

// --- frames -----------------------------------------------------------------------------------

foreach ([0, 1, 125, 126, 127, 65535, 65536, 200000] as $length) {
    test("a message of $length bytes is written masked, in the shortest form", static function () use ($length): void {
        $bytes = (new Frame(Frame::TEXT, text_of($length)))->encode();
        same($length + 6 + ($length > 65535 ? 8 : ($length > 125 ? 2 : 0)), strlen($bytes), 'the frame\'s length');
        $frame = take_frame($bytes);
        same([true, 0, 1, true], [$frame['fin'], $frame['reserved'], $frame['opcode'], $frame['masked']], 'the head');
        same(true, $frame['payload'] === text_of($length), 'the payload is intact');
        same('', $bytes, 'what is left');
    });
    test("a message of $length bytes is read whole", static function () use ($length): void {
        holds(decoded([server_frame(1, text_of($length))]) === [[1, text_of($length)]], 'it is intact');
    });
    test("a message of $length bytes is read in pieces of 1, 7 and 8192 bytes", static function () use ($length): void {
        foreach ($length > 1000 ? [7, 8192] : [1, 7, 8192] as $piece) {
            $pieces = str_split(server_frame(1, text_of($length)), $piece);
            holds(decoded($pieces) === [[1, text_of($length)]], "it is intact in pieces of $piece");
        }
    });
}

test('several frames in one read come out one by one, and an unfinished one waits', static function (): void {
    $bytes = server_frame(1, 'one') . server_frame(9, 'ping') . server_frame(1, '') . server_frame(1, 'three');
    $last = server_frame(1, text_of(300));
    $expected = [[1, 'one'], [9, 'ping'], [1, ''], [1, 'three'], [1, text_of(300)]];
    for ($cut = 0; $cut <= strlen($last); $cut++) {
        same($expected, decoded([$bytes . substr($last, 0, $cut), substr($last, $cut)]), "cut at $cut");
    }
});

test('any split of a stream gives the same messages', static function (): void {
    $stream = server_frame(1, 'a', false) . server_frame(9, '') . server_frame(0, 'b', false) . server_frame(0, 'c')
        . server_frame(10, 'pong') . server_frame(1, text_of(126)) . server_frame(8, "\x03\xe8bye");
    $expected = [[9, ''], [1, 'abc'], [10, 'pong'], [1, text_of(126)], [8, "\x03\xe8bye"]];
    for ($piece = 1; $piece <= strlen($stream); $piece++) {
        same($expected, decoded(str_split($stream, $piece)), "pieces of $piece");
    }
});

test('many small frames in one read take no more than linear time', static function (): void {
    $start = microtime(true);
    same(200000, count(decoded([str_repeat(server_frame(1, 'x'), 200000)])), 'the number of messages');
    holds(microtime(true) - $start < 5.0, 'it took less than 5 seconds');
});

test('masking and unmasking undo each other, whatever the length', static function (): void {
    foreach ([0, 1, 2, 3, 4, 5, 7, 8, 1001] as $length) {
        $masked = Frame::mask(text_of($length), "\x01\x80\xff\x00");
        same(unmasked(text_of($length), "\x01\x80\xff\x00"), $masked, "the masked text of $length");
        same(text_of($length), Frame::mask($masked, "\x01\x80\xff\x00"), "the text of $length again");
    }
});

test('every frame has a mask of its own', static function (): void {
    $masks = [];
    for ($i = 0; $i < 50; $i++) {
        $masks[substr((new Frame(Frame::TEXT, 'x'))->encode(), 2, 4)] = true;
    }
    holds(count($masks) > 45, 'the masks differ');
});

test('a masked frame of the server is refused', static function (): void {
    refused(client_frame(1, 'x'), 'masked');
});
test('reserved bits are refused', static function (): void {
    foreach ([0x40, 0x20, 0x10] as $bit) {
        refused(chr(0x81 | $bit) . "\x00", 'reserved bits');
    }
});
test('reserved opcodes are refused', static function (): void {
    foreach ([3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as $opcode) {
        refused(server_frame($opcode, ''), "reserved opcode $opcode");
    }
});
test('a control frame in fragments or of more than 125 bytes is refused', static function (): void {
    refused(server_frame(9, 'x', false), 'control frame');
    refused(server_frame(8, text_of(126)), 'control frame');
    same([[9, text_of(125)]], decoded([server_frame(9, text_of(125))]), 'a ping of 125 bytes');
});
test('a continuation of nothing is refused', static function (): void {
    refused(server_frame(0, 'x'), 'had not begun');
    refused(server_frame(1, 'x', false) . server_frame(0, 'y') . server_frame(0, 'z'), 'had not begun');
});
test('a message inside another is refused', static function (): void {
    refused(server_frame(1, 'x', false) . server_frame(1, 'y'), 'inside another');
});
test('a 64-bit length with its highest bit set is refused', static function (): void {
    refused("\x81\x7f\x80\0\0\0\0\0\0\x01", 'highest bit');
    refused("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 'highest bit');
});
test('a length in a longer form than it needs is refused', static function (): void {
    refused("\x81\x7e\x00\x7d" . text_of(125), 'longer than it needs');
    refused("\x81\x7f\0\0\0\0\0\0\xff\xff", 'longer than it needs');
});
test('a message beyond the limit is refused before it has come', static function (): void {
    same([[1, text_of(100)]], decoded([server_frame(1, text_of(100))], 100), 'a message of just the limit');
    refused("\x81\x65", 'more than 100 bytes', 1009, 100);
    refused("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 'more than 1000 bytes', 1009, 1000);
    refused(server_frame(1, text_of(60), false) . server_frame(0, text_of(41)), 'more than 100 bytes', 1009, 100);
    same([[9, 'a longer ping']], decoded([server_frame(9, 'a longer ping')], 5), 'a ping, which is no message');
});
test('random bytes give frames or one ProtocolException', static function (): void {
    mt_srand(20210506);
    for ($round = 0; $round < 3000; $round++) {
        $bytes = '';
        for ($i = mt_rand(1, 60); $i > 0; $i--) {
            $bytes .= chr(mt_rand(0, 255));
        }
        try {
            decoded(str_split($bytes, mt_rand(1, 60)), 1000);
        } catch (ProtocolException $e) {
            holds($e->closeCode() === 1002 || $e->closeCode() === 1009, 'the close code is a known one');
        }
    }
});
test('the reason of a close frame is cut to what fits, not inside a character', static function (): void {
    same("\x03\xe8bye", Frame::closePayload(1000, 'bye'));
    same("\x03\xe8" . str_repeat('ü', 61), Frame::closePayload(1000, str_repeat('ü', 100)));
    same("\x03\xe8", Frame::closePayload(1000, "\xff"));
});

// --- JSON -------------------------------------------------------------------------------------

test('JSON keeps umlauts, slashes, 1.0 and strings of digits as they are', static function (): void {
    $text = Json::encode(['opcode' => 'x', 'message' => ['grüße €', 'a/b', 1.0, '007', '1e3', null, true, []]]);
    same('{"opcode":"x","message":["grüße €","a/b",1.0,"007","1e3",null,true,[]]}', $text);
});
test('a packet is an object even when it is empty or a list', static function (): void {
    same('{}', Json::encode([]));
    same('{"0":"a"}', Json::encode(['a']));
});
test('bad UTF-8 is refused, and the exception names its place', static function (): void {
    $bad = [
        '"message"' => ['message' => "gr\xfc\xdfe"],
        '"message.list.1"' => ['message' => ['list' => ['good', "\xff"]]],
        '"message.inner"' => ['message' => (object) ['inner' => "\xc3"]],
        'the name of a key' => ["k\xff" => 1],
    ];
    foreach ($bad as $place => $packet) {
        $e = throws(ArgumentException::class, static function () use ($packet): void {
            Json::encode($packet);
        }, $place);
        holds(stripos($e->getMessage(), 'UTF-8') !== false, 'UTF-8 is mentioned');
    }
});
test('what JSON cannot hold is refused', static function (): void {
    $endless = ['message' => null];
    $endless['message'] = &$endless;
    foreach ([['n' => NAN], ['n' => INF], ['f' => fopen('php://memory', 'r')], $endless] as $packet) {
        throws(ArgumentException::class, static function () use ($packet): void {
            Json::encode($packet);
        }, 'cannot be written as JSON');
    }
});
test('integers too large for PHP arrive digit for digit', static function (): void {
    same(['n' => '123456789012345678901234567890', 'm' => 42, 'f' => 1.5], Json::decode('{"n":123456789012345678901234567890,"m":42,"f":1.5}'));
});
test('a text that is no packet is refused', static function (): void {
    foreach (['', '{', 'nonsense', '"text"', '17', 'null', "{\"a\":\"\xff\"}"] as $text) {
        $e = throws(ProtocolException::class, static function () use ($text): void {
            Json::decode($text);
        });
        same(1007, $e->closeCode(), "the close code for $text");
    }
});

// --- addresses --------------------------------------------------------------------------------

/** Address, then what is expected: endpoint, secure, resource, Host header, origin. */
$addresses = [
    ['ws://localhost:8095/php', 'tcp://localhost:8095', false, '/php', 'localhost:8095', 'http://localhost:8095'],
    ['ws://localhost:8095', 'tcp://localhost:8095', false, '/php', 'localhost:8095', 'http://localhost:8095'],
    ['tcp://localhost:8095/', 'tcp://localhost:8095', false, '/', 'localhost:8095', 'http://localhost:8095'],
    ['localhost:8095/web', 'tcp://localhost:8095', false, '/web', 'localhost:8095', 'http://localhost:8095'],
    ['ws://example.org', 'tcp://example.org:80', false, '/php', 'example.org', 'http://example.org'],
    ['wss://example.org/php', 'tcp://example.org:443', true, '/php', 'example.org', 'https://example.org'],
    ['ssl://example.org:8095/php', 'tcp://example.org:8095', true, '/php', 'example.org:8095', 'https://example.org:8095'],
    ['WSS://example.org:443/php', 'tcp://example.org:443', true, '/php', 'example.org', 'https://example.org'],
    ['ws://[::1]:8095/php', 'tcp://[::1]:8095', false, '/php', '[::1]:8095', 'http://[::1]:8095'],
    ['wss://[2001:db8::7]', 'tcp://[2001:db8::7]:443', true, '/php', '[2001:db8::7]', 'https://[2001:db8::7]'],
    ['ws://h:1/a/b?x=1&y=/2', 'tcp://h:1', false, '/a/b?x=1&y=/2', 'h:1', 'http://h:1'],
    ['ws://h:1?x=1', 'tcp://h:1', false, '/php?x=1', 'h:1', 'http://h:1'],
];
foreach ($addresses as [$text, $endpoint, $secure, $resource, $host, $origin]) {
    test("the address $text is understood", static function () use ($text, $endpoint, $secure, $resource, $host, $origin): void {
        $address = new Address($text);
        same(
            [$endpoint, $secure, $resource, $host, $origin],
            [$address->endpoint(), $address->secure, $address->resource, $address->hostHeader(), $address->origin()],
            'the parts'
        );
    });
}
$refusals = [
    '' => 'no host', 'ws://' => 'no host', 'ws:///php' => 'no host', 'ws://:8095' => 'no host',
    'http://h' => 'unknown scheme', 'wsx://h' => 'unknown scheme', 'ws://h:x' => 'no host', 'ws://h:' => 'no host',
    'ws://h:0' => 'not in 1..65535', 'ws://h:65536' => 'not in 1..65535', 'ws://::1:8095' => 'brackets',
    'ws://[::1' => 'brackets', 'ws://me:secret@h' => 'user name', 'ws://h/a#b' => 'fragment',
    "ws://h/a\r\nX-Bad: 1" => 'control character', "ws://h\n" => 'control character', 'ws://h/a b' => 'blank', "ws://h\0/a" => 'control character',
];
foreach ($refusals as $text => $containing) {
    test('the address ' . json_encode($text) . ' is refused', static function () use ($text, $containing): void {
        $e = throws(ArgumentException::class, static function () use ($text): void {
            new Address((string) $text);
        }, $containing);
        holds(strpos($e->getMessage(), 'secret') === false, 'no password stands in the message');
    });
}

// --- handshake --------------------------------------------------------------------------------

test('the request carries what the server needs, each header once', static function (): void {
    $request = (new Handshake(new Address('ws://localhost:8095/php'), 'receiver', ['Cookie' => 'a=b']))->request();
    $lines = explode("\r\n", $request);
    same('GET /php HTTP/1.1', $lines[0]);
    same(['', ''], array_slice($lines, -2), 'the end');
    foreach (['Host: localhost:8095', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
        'Origin: http://localhost:8095', 'Client-Type: php', 'Ident: receiver', 'Cookie: a=b'] as $line) {
        same(1, count(array_keys($lines, $line, true)), "the number of lines \"$line\"");
    }
    same(1, preg_match('~^Sec-WebSocket-Key: [A-Za-z0-9+/]{22}==\r$~m', $request), 'a key of 16 bytes');
});
test('a header replaces the one of the same name, in whatever case', static function (): void {
    $request = (new Handshake(new Address('ws://h:1'), 'x', ['origin' => 'https://page.example', 'IDENT' => 'y']))->request();
    holds(stripos($request, "\r\norigin: https://page.example\r\n") !== false, 'the new origin is there');
    same(1, preg_match_all('/^origin:/mi', $request), 'the number of origins');
    same(1, preg_match_all('/^ident:/mi', $request), 'the number of idents');
});
test('no header and no ident can smuggle in another line', static function (): void {
    $bad = [
        ['', ['X' => "a\r\nEvil: 1"]], ['', ['X' => "a\nEvil: 1"]], ['', ['X' => "a\rb"]], ['', ['X' => "a\0b"]],
        ['', ["X\r\nEvil" => '1']], ['', ['X:' => '1']], ['', ['' => '1']], ['', ["X\n" => '1']], ['', ['X Y' => '1']],
        ["me\r\nEvil: 1", []], ["me\n", []], ["\r", []],
    ];
    foreach ($bad as [$ident, $headers]) {
        throws(ArgumentException::class, static function () use ($ident, $headers): void {
            new Handshake(new Address('ws://h:1'), $ident, $headers);
        });
    }
});
test('headers that make the handshake cannot be replaced', static function (): void {
    foreach (['Upgrade', 'connection', 'SEC-WEBSOCKET-KEY', 'Sec-WebSocket-Version', 'Sec-WebSocket-Extensions', 'Content-Length'] as $name) {
        throws(ArgumentException::class, static function () use ($name): void {
            new Handshake(new Address('ws://h:1'), '', [$name => 'x']);
        }, 'belongs to the handshake');
    }
});
test('the accept value is that of the RFC\'s example', static function (): void {
    same('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', Handshake::accept('dGhlIHNhbXBsZSBub25jZQ=='));
});

/** The 101 that belongs to a new handshake, changed by the caller. */
function answered(callable $change): void
{
    $handshake = new Handshake(new Address('ws://h:1'));
    $accept = accept_of($handshake->request());
    $handshake->check($change("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $accept"));
}
test('a proper 101 is taken, also in other cases and with more headers', static function (): void {
    answered('strval');
    answered(static function (string $head): string {
        return str_replace(['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: '], ['UPGRADE:WebSocket', 'connection: keep-alive, upgrade', 'sec-websocket-accept:  '], $head);
    });
    answered(static function (string $head): string {
        return $head . "\r\nX-Padding: " . str_repeat('x', 800);
    });
});
test('an improper 101 is refused', static function (): void {
    $changes = ['Upgrade: websocket' => 'Upgrade: h2c', 'Connection: Upgrade' => 'Connection: close', 'Connection: ' => 'Connection: no-',
        'Accept: ' => 'Accept: x', 'HTTP/1.1 101' => 'HTTP/1.1 200', 'HTTP/1.1' => 'SMTP'];
    foreach ($changes as $from => $to) {
        throws(HandshakeException::class, static function () use ($from, $to): void {
            answered(static function (string $head) use ($from, $to): string {
                return str_replace($from, $to, $head);
            });
        });
    }
});
test('a refusal tells its status and the first line of its body', static function (): void {
    $e = throws(HandshakeException::class, static function (): void {
        (new Handshake(new Address('ws://h:1')))->check("HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain", "\nno php clients from here\r\nmore\r\n");
    }, '403 Forbidden');
    same([403, 'no php clients from here', false], [$e->status(), $e->line(), $e->isTemporary()]);
    same([503, '', true], (static function (HandshakeException $e): array {
        return [$e->status(), $e->line(), $e->isTemporary()];
    })(new HandshakeException('x', 503)));
});
test('an answer in TLS gives a hint', static function (): void {
    throws(HandshakeException::class, static function (): void {
        (new Handshake(new Address('ws://h:1')))->check("\x15\x03\x03\x00\x02\x02\x46");
    }, 'wss://');
});

// --- options and exceptions -------------------------------------------------------------------

test('options are taken, and integers may stand for seconds', static function (): void {
    $options = new Options(['timeout' => 2, 'ident' => 'a', 'reconnect' => 0, 'ssl' => ['cafile' => '/x']]);
    same([2.0, 'a', 0, ['cafile' => '/x']], [$options->timeout, $options->ident, $options->reconnect, $options->ssl]);
});
test('unknown and unusable options are refused', static function (): void {
    foreach ([['timeOut' => 1], ['timeout' => '1'], ['timeout' => 0], ['timeout' => NAN], ['timeout' => INF], ['backoff' => NAN], ['reconnect' => -1], ['ident' => null], ['headers' => 'x']] as $options) {
        throws(ArgumentException::class, static function () use ($options): void {
            new Options($options);
        }, 'option');
    }
});
test('a closing says what is known about it', static function (): void {
    $cases = [
        [new ClosedException(1006), 'lost without a close frame', true],
        [new ClosedException(1001, 'restart'), '(1001): "restart"', true],
        [new ClosedException(1008, 'policy', 'Too many connections'), '"Too many connections", "policy"', false],
        [new ClosedException(1006, '', 'Too many connections'), '"Too many connections"', false],
        [new ClosedException(1006, '', ''), 'told this client to close', false],
        [new ClosedException(1013, 'full', 'full'), '(1013): "full"', true],
        [ClosedException::byThisClient(), 'by this client', false],
    ];
    foreach ($cases as [$e, $containing, $temporary]) {
        holds(strpos($e->getMessage(), $containing) !== false, "\"{$e->getMessage()}\" contains $containing");
        same($temporary, $e->isTemporary(), "whether \"{$e->getMessage()}\" is temporary");
    }
});

// --- publishing over HTTP ---------------------------------------------------------------------

test('a publisher refuses what it cannot send before it sends', static function (): void {
    $publisher = new Publisher('http://127.0.0.1:1');
    throws(ArgumentException::class, static function () use ($publisher): void {
        $publisher->feedback('x', '');
    }, 'uuid');
    throws(ArgumentException::class, static function () use ($publisher): void {
        $publisher->feedback('x', '../broadcast');
    }, 'uuid');
    throws(ArgumentException::class, static function () use ($publisher): void {
        $publisher->feedbackTo('x', '');
    }, 'ident');
    throws(ArgumentException::class, static function () use ($publisher): void {
        $publisher->broadcast("\xff");
    }, 'UTF-8');
    throws(ArgumentException::class, static function (): void {
        new Publisher('http://127.0.0.1:1', ['tokn' => 'x']);
    }, 'tokn');
    throws(ArgumentException::class, static function (): void {
        new Publisher('http://127.0.0.1:1', ['token' => "x\r\nX: y"]);
    }, 'token');
    throws(ArgumentException::class, static function (): void {
        new Publisher('ftp://127.0.0.1:1');
    }, 'ftp');
});
test('a publish exception knows its status', static function (): void {
    same(['no (HTTP status 404)', 404, false], [($e = new PublishException(404, 'no'))->getMessage(), $e->status(), $e->isTemporary()]);
    same(['HTTP status 503', true], [($e = new PublishException(503, ''))->getMessage(), $e->isTemporary()]);
});

finish();
