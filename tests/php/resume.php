<?php

/*
 * A client that comes back as itself, row by row of docs/resume.md, against servers of the test's own.
 *
 *     php resume.php
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\ArgumentException;
use Phpws\Client;
use Phpws\ClosedException;
use Phpws\HandshakeException;
use Phpws\Numbering;
use Phpws\RefusedException;
use Phpws\ResumeException;

time_limit(170);

const RESUME = ['resume' => true, 'timeout' => 5.0, 'backoff' => 0.02, 'resume_within' => 5.0];

function welcome(string $resume = 'new', int $seq = 0, string $uuid = 'the-uuid', array $more = []): array
{
    return ['accept', base64_encode(packet_frame(['opcode' => 'ready', 'uuid' => $uuid, 'resume' => $resume, 'seq' => $seq, 'keep' => 60] + $more))];
}

function note(int $seq, array $more = []): string
{
    return packet_frame(['opcode' => 'feedback', 'message' => "note $seq"] + $more + ['seq' => $seq]);
}

function close_with(int $code, string $reason = ''): array
{
    return FakeServer::bytes(server_frame(8, pack('n', $code) . $reason));
}

function answers(string ...$bytes): array
{
    return FakeServer::bytes(FakeServer::next(), ...$bytes);
}

function refusal(string $status): array
{
    return [['request'], ['write', base64_encode("HTTP/1.1 $status\r\nContent-Length: 0\r\n\r\n")]];
}

/** @return array<int, string> the targets of the requests */
function targets(array $received): array
{
    return array_map(static function (array $connection): string {
        return explode(' ', $connection['request'])[1] ?? '';
    }, $received);
}

/** @return array<int, string> the messages of so many packets */
function messages(Client $client, int $count): array
{
    $messages = [];
    while (count($messages) < $count && ($packet = $client->read(3.0)) !== null) {
        $messages[] = $packet['message'] ?? '';
    }
    return $messages;
}

// --- the numbers ------------------------------------------------------------------------------

test('numbers begin with ready, and only where the server resumes', static function (): void {
    same(null, Numbering::begun(['opcode' => 'ready', 'uuid' => 'u']));
    $numbers = Numbering::begun(['opcode' => 'ready', 'uuid' => 'u&v=1', 'resume' => 'new', 'seq' => 7]);
    same('resume=u%26v%3D1&seq=7', $numbers->query());
});
test('a packet that came before is not new, one without a number always is', static function (): void {
    $numbers = Numbering::begun(['uuid' => 'u', 'resume' => 'new', 'seq' => 0]);
    $new = array_map(static function ($seq) use ($numbers): bool {
        return $numbers->isNew(['opcode' => 'feedback', 'seq' => $seq]);
    }, [1, 1, 2, 1, 5, 4, 6]);
    same([true, false, true, false, true, false, true], $new);
    same([true, true, true], [$numbers->isNew(['opcode' => 'next']), $numbers->isNew(['opcode' => 'close']), $numbers->isNew(['opcode' => 'x', 'seq' => '3'])]);
    same(6, $numbers->seq());
});
test('the place is the last one that was told, if it can be one', static function (): void {
    $numbers = Numbering::begun(['uuid' => 'u', 'resume' => 'new', 'seq' => 0]);
    foreach (['5-0', ['hour' => 7], str_repeat('x', 1000), null] as $i => $at) {
        $numbers->isNew(['opcode' => 'feedback', 'at' => $at, 'seq' => $i + 1]);
    }
    same('resume=u&seq=4&at=5-0', $numbers->query());
    $numbers->isNew(['opcode' => 'feedback', 'seq' => 5]);
    $numbers->isNew(['opcode' => 'feedback', 'at' => 17, 'seq' => 6]);
    same('resume=u&seq=6&at=17', $numbers->query());
});
test('numbers go on for the same uuid only, and never back', static function (): void {
    $numbers = Numbering::begun(['uuid' => 'u', 'resume' => 'new', 'seq' => 3]);
    foreach ([['uuid' => 'u'], ['uuid' => 'u', 'resume' => 'new'], ['uuid' => 'v', 'resume' => 'resumed'], ['uuid' => 'v', 'resume' => 'lost']] as $ready) {
        same(false, $numbers->goesOn($ready + ['seq' => 9]));
    }
    same(true, $numbers->goesOn(['uuid' => 'u', 'resume' => 'resumed', 'seq' => 1]));
    same('resume=u&seq=3', $numbers->query());
    same(true, $numbers->goesOn(['uuid' => 'u', 'resume' => 'gap', 'seq' => 9, 'at' => 'x']));
    same('resume=u&seq=9&at=x', $numbers->query());
});
test('a packet has its number from its place, and what was given up is counted', static function (): void {
    $numbers = Numbering::begun(['uuid' => 'u', 'resume' => 'new', 'seq' => 0]);
    same(['opcode' => 'a', 'cseq' => 1], $numbers->numbered(['opcode' => 'a'], 0));
    same(['opcode' => 'a', 'cseq' => 3], $numbers->numbered(['cseq' => 99, 'opcode' => 'a'], 2));
    $numbers->acknowledged();
    $numbers->acknowledged(2);
    same(4, $numbers->numbered([], 0)['cseq']);
});
test('a negative time to come back in is refused', static function (): void {
    throws(ArgumentException::class, static function (): void {
        new Client('ws://127.0.0.1:1', ['resume_within' => -1]);
    }, 'resume_within');
});

// --- the request ------------------------------------------------------------------------------

test('the first request asks to be kept, and a query stays', static function (): void {
    foreach (['' => '/php?resume=', '?shop=7' => '/php?shop=7&resume='] as $query => $target) {
        $server = new FakeServer([welcome(), ['drain']]);
        $client = new Client($server->address . $query, RESUME);
        same(['the-uuid', 'new', 0, 0, 0], [$client->uuid(), $client->lastResume(), $client->lastSeq(), $client->missed(), $client->resumes()]);
        $client->close();
        same([$target], targets($server->received()));
    }
});
test('without the option nothing of this is sent, and numbers are data', static function (): void {
    $server = new FakeServer([welcome(), FakeServer::bytes(note(1), note(1)), ['expect'], answers(), ['expect']], [welcome('resumed'), ['expect'], answers(), ['drain']]);
    $client = new Client($server->address, ['resume' => false] + RESUME);
    same(['note 1', 'note 1'], messages($client, 2));
    $client->broadcast('one');
    $client->broadcast('two');
    $client->close();
    $received = $server->received();
    same(['/php', '/php'], targets($received));
    same([['opcode' => 'broadcast', 'message' => 'one'], ['opcode' => 'broadcast', 'message' => 'two']], FakeServer::packets($received[0]));
    same([['opcode' => 'broadcast', 'message' => 'two']], FakeServer::packets($received[1]));
});
test('the next request names the client, its last message and its place', static function (): void {
    $server = new FakeServer([welcome(), FakeServer::bytes(note(1, ['at' => '17-3']), note(2))], [welcome('resumed', 2), FakeServer::bytes(note(3)), ['drain']]);
    $client = new Client($server->address, RESUME);
    same(['note 1', 'note 2', 'note 3'], messages($client, 3));
    same(3, $client->lastSeq());
    $client->close();
    same(['/php?resume=', '/php?resume=the-uuid&seq=2&at=17-3'], targets($server->received()));
});

// --- how it went ------------------------------------------------------------------------------

test('resumed, gap and lost are told, each with what is missing', static function (): void {
    $server = new FakeServer(
        [welcome(), FakeServer::bytes(note(1))],
        [welcome('resumed', 1), FakeServer::bytes(note(2))],
        [welcome('gap', 5, 'the-uuid', ['lost' => 3]), FakeServer::bytes(note(6))],
        [welcome('gap', 9), FakeServer::bytes(note(10))],
        [welcome('lost', 0, 'second'), FakeServer::bytes(note(1)), ['drain']]
    );
    $client = new Client($server->address, RESUME);
    $seen = [];
    for ($i = 0; $i < 5; $i++) {
        $seen[] = [messages($client, 1), $client->lastResume(), $client->missed(), $client->uuid(), $client->resumes()];
    }
    $client->close();
    same([
        [['note 1'], 'new', 0, 'the-uuid', 0],
        [['note 2'], 'resumed', 0, 'the-uuid', 1],
        [['note 6'], 'gap', 3, 'the-uuid', 2],
        [['note 10'], 'gap', null, 'the-uuid', 3],
        [['note 1'], 'lost', null, 'second', 4],
    ], $seen);
    same('/php?resume=the-uuid&seq=10', targets($server->received())[4]);
});
test('a server that keeps nobody works as before, reading comes back too', static function (): void {
    $server = new FakeServer(
        [FakeServer::ready('a'), FakeServer::bytes(note(1), note(1)), ['expect']],
        [FakeServer::ready('b'), ['expect'], answers(note(1)), ['drain']]
    );
    $client = new Client($server->address, RESUME);
    same(['note 1', 'note 1'], messages($client, 2));
    $client->broadcast('x');
    same([['note 1'], 'lost', 'b', 0], [messages($client, 1), $client->lastResume(), $client->uuid(), $client->lastSeq()]);
    $client->close();
    $received = $server->received();
    same(['/php?resume=', '/php?resume='], targets($received));
    same([['opcode' => 'broadcast', 'message' => 'x']], FakeServer::packets($received[1]));
});

// --- what comes -------------------------------------------------------------------------------

test('a packet that comes twice is read once, in order', static function (): void {
    $server = new FakeServer([welcome(), FakeServer::bytes(note(1), note(1), note(2))], [welcome('resumed', 2), FakeServer::bytes(note(1), note(2), note(3), note(3), note(4)), ['drain']]);
    $client = new Client($server->address, RESUME);
    same(['note 1', 'note 2', 'note 3', 'note 4'], messages($client, 4));
    same(null, $client->read(0.1));
});
test('a list is unwrapped, other text stays in its packet', static function (): void {
    $texts = [packet_frame(['opcode' => 'text', 'text' => '[1,2]', 'seq' => 1]), packet_frame(['opcode' => 'text', 'text' => 'plain words', 'seq' => 2])];
    $server = new FakeServer([welcome(), FakeServer::bytes(...$texts), ['drain']]);
    $client = new Client($server->address, RESUME);
    same([[1, 2], ['opcode' => 'text', 'text' => 'plain words', 'seq' => 2]], [$client->read(2.0), $client->read(2.0)]);
});
test('a ping is answered with its number, after the packets before it were taken', static function (): void {
    $server = new FakeServer([welcome(), FakeServer::bytes(note(1), server_frame(9, '{"opcode":"PING","seq":1}')), ['expect'], FakeServer::bytes(note(2)), ['drain']]);
    $client = new Client($server->address, RESUME);
    same(['note 1', 'note 2'], messages($client, 2));
    $client->close();
    same([10, '{"opcode":"PING","seq":1}', true], $server->received()[0]['frames'][0]);
});
test('echo finds its answer among numbers', static function (): void {
    $echo = static function (string $message, int $seq): string {
        return packet_frame(['opcode' => 'echo', 'message' => $message, 'cseq' => 1, 'at' => '5', 'seq' => $seq]);
    };
    $server = new FakeServer([welcome(), ['expect'], answers($echo('stranger', 1), $echo('x', 2)), ['drain']]);
    same('x', (new Client($server->address, RESUME))->echo('x')['message']);
});

// --- what goes --------------------------------------------------------------------------------

test('what has no next is sent again under its number, and no other', static function (): void {
    $server = new FakeServer(
        [welcome(), ['expect'], answers(), ['expect']],
        [welcome('resumed'), ['expect'], answers(), ['expect']],
        [welcome('gap', 9), ['expect'], answers(), ['drain']]
    );
    $client = new Client($server->address, RESUME);
    foreach (['one', 'two', 'three'] as $message) {
        $client->feedback($message, 'browser');
    }
    $client->close();
    $sent = array_map(static function (array $connection): array {
        return array_column(FakeServer::packets($connection), 'message', 'cseq');
    }, $server->received());
    same([[1 => 'one', 2 => 'two'], [2 => 'two', 3 => 'three'], [3 => 'three']], $sent);
});
test('several packets without next keep their numbers', static function (): void {
    $server = new FakeServer([welcome(), ['expect', 3], answers()], [welcome('resumed'), ['expect', 2], answers(FakeServer::next()), ['drain']]);
    $client = new Client($server->address, ['timeout' => 0.4] + RESUME);
    for ($i = 1; $i < 3; $i++) {
        throws(Phpws\TimeoutException::class, static function () use ($client, $i): void {
            $client->broadcast($i);
        });
    }
    $client->broadcast(3);
    same(0, $client->unacknowledged());
    $client->close();
    $received = array_map([FakeServer::class, 'packets'], $server->received());
    same([[1, 2, 3], [2, 3]], [array_column($received[0], 'cseq'), array_column($received[1], 'cseq')]);
});
test('a long packet is sent again whole', static function (): void {
    $long = str_repeat('ü', 400000);
    $server = new FakeServer([welcome(), ['pause', 0.2]], [welcome('resumed'), ['expect'], answers(), ['drain']]);
    $client = new Client($server->address, RESUME);
    $client->broadcast($long);
    $client->close();
    holds(FakeServer::packets($server->received()[1]) === [['opcode' => 'broadcast', 'message' => $long, 'cseq' => 1]], 'it arrived as it was');
});
test('resumed and gap: rooms are not joined again; lost: they are, numbers begin anew', static function (): void {
    $joined = static function (string $room, int $seq): string {
        return packet_frame(['opcode' => 'joined', 'room' => $room, 'count' => 1, 'seq' => $seq]);
    };
    $server = new FakeServer(
        [welcome(), ['expect'], answers($joined('a', 1)), ['expect'], answers($joined('b', 2)), ['expect']],
        [welcome('resumed', 2), ['expect'], answers(), ['expect']],
        [welcome('lost', 0, 'second'), ['expect', 3], answers($joined('b', 1), FakeServer::next(), $joined('a', 2), FakeServer::next()), ['drain']]
    );
    $client = new Client($server->address, RESUME);
    $client->join('a');
    $client->join('b');
    $client->broadcastTo('one', 'a');
    $client->feedback('two', 'browser');
    same(['joined', 'joined'], [$client->read(1.0)['opcode'] ?? null, $client->read(1.0)['opcode'] ?? null]);
    $client->close();
    $sent = array_map([FakeServer::class, 'packets'], $server->received());
    same([['broadcast', 'feedback'], [3, 4]], [array_column($sent[1], 'opcode'), array_column($sent[1], 'cseq')]);
    same([['join', 'join', 'feedback'], [1, 2, 3], 'second'], [array_column($sent[2], 'opcode'), array_column($sent[2], 'cseq'), $sent[2][2]['fromUUID']]);
});
test('a join whose refusal comes before its next is not repeated', static function (): void {
    $refused = packet_frame(['opcode' => 'refused', 'refused' => 'join', 'room' => 'full', 'error' => 'Too many rooms', 'seq' => 1]);
    $server = new FakeServer(
        [welcome(), ['expect']],
        [welcome('resumed', 0), FakeServer::bytes($refused), ['expect'], answers()],
        [welcome('lost', 0, 'second'), ['expect'], answers(), ['drain']]
    );
    $client = new Client($server->address, RESUME);
    throws(RefusedException::class, static function () use ($client): void {
        $client->join('full');
    }, 'Too many rooms');
    $client->broadcast('x');
    $client->close();
    same(['broadcast'], array_column(FakeServer::packets($server->received()[2]), 'opcode'));
});

// --- the end ----------------------------------------------------------------------------------

test('broken, going away, restart, try again: reading goes on', static function (): void {
    foreach ([null, 1001, 1012, 1013] as $code) {
        $end = $code === null ? [] : [FakeServer::bytes(packet_frame(['opcode' => 'close'])), close_with($code), ['drain']];
        $server = new FakeServer(array_merge([welcome()], $end), [welcome('resumed'), FakeServer::bytes(note(1)), ['drain']]);
        $client = new Client($server->address, RESUME);
        same([['note 1'], 'resumed'], [messages($client, 1), $client->lastResume()]);
    }
});
test('4000: another connection has the client, so this one stops, and a new one begins anew', static function (): void {
    $server = new FakeServer([welcome(), close_with(4000, 'Resumed on another connection'), ['drain']], [welcome('new', 0, 'second'), ['drain']]);
    $client = new Client($server->address, RESUME);
    foreach (['read', 'send', 'read'] as $method) {
        $e = throws(ClosedException::class, static function () use ($client, $method): void {
            $method === 'read' ? $client->read(2.0) : $client->broadcast('x');
        }, 'Resumed on another connection');
        same([4000, false], [$e->closeCode(), $e->isTemporary()]);
    }
    $client->connect();
    same(['second', 'lost'], [$client->uuid(), $client->lastResume()]);
    $client->close();
    same(['/php?resume=', '/php?resume='], targets($server->received()));
});
test('1000 and a closing for a reason are the end', static function (): void {
    foreach ([1000, 1008, 1009, 1011] as $code) {
        $server = new FakeServer([welcome(), close_with($code), ['drain']], [welcome('resumed'), ['drain']]);
        $client = new Client($server->address, RESUME);
        $e = throws(ClosedException::class, static function () use ($client): void {
            $client->read(2.0);
        });
        same($code, $e->closeCode());
    }
});
test('close ends the client, and the next connection is a new one', static function (): void {
    $server = new FakeServer([welcome(), FakeServer::bytes(note(1)), ['drain']], [welcome('new', 0, 'second'), ['drain']]);
    $client = new Client($server->address, RESUME);
    same(['note 1'], messages($client, 1));
    $client->close();
    $client->connect();
    same(['new', 'second', 0], [$client->lastResume(), $client->uuid(), $client->resumes()]);
    $client->close();
    $received = $server->received();
    same([8, "\x03\xe8", true], $received[0]['frames'][0], 'the goodbye');
    same(['/php?resume=', '/php?resume='], targets($received));
});

// --- the time ---------------------------------------------------------------------------------

test('429, 503 and a server that hangs up are tried again under the same uuid', static function (): void {
    $server = new FakeServer([welcome(), ['expect']], refusal('429 Too Many Requests'), refusal('503 Service Unavailable'), [['request']], [welcome('resumed'), ['expect'], answers(), ['drain']]);
    $client = new Client($server->address, RESUME);
    $client->broadcast('x');
    same(['resumed', 1], [$client->lastResume(), $client->resumes()]);
    $client->close();
    same(['/php?resume='] + array_fill(0, 5, '/php?resume=the-uuid&seq=0'), targets($server->received()));
});
test('a refusal that will not pass is not asked again', static function (): void {
    $server = new FakeServer([welcome()], refusal('403 Forbidden'), [welcome('resumed'), ['drain']]);
    $client = new Client($server->address, RESUME);
    throws(HandshakeException::class, static function () use ($client): void {
        $client->read(2.0);
    }, '403');
});
test('a server that stays away gives a ResumeException in time, to who sends and who reads', static function (): void {
    foreach (['send', 'read'] as $method) {
        $server = new FakeServer([welcome(), ['pause', 0.1]]);
        $client = new Client($server->address, ['resume_within' => 0.6] + RESUME);
        for ($i = 0; $i < 2; $i++) {
            $start = microtime(true);
            $e = throws(ResumeException::class, static function () use ($client, $method): void {
                $method === 'read' ? $client->read() : $client->broadcast('x');
            }, 'not back within 0.6 seconds');
            $took = microtime(true) - $start;
            holds($took > 0.3 && $took < 2.0, "it took $took s");
            holds($e->getPrevious() instanceof Phpws\ConnectException, 'it says what the last try met');
            holds(strpos($e->getMessage(), 'the-uuid') === false, 'it keeps the uuid to itself');
        }
        same([0, false], [$client->unacknowledged(), $client->isOpen()]);
    }
});
test('a silent server does not hold it up for longer', static function (): void {
    $server = new FakeServer([welcome()], [['request'], ['drain']], [['request'], ['drain']]);
    $client = new Client($server->address, ['resume_within' => 0.5] + RESUME);
    $start = microtime(true);
    throws(ResumeException::class, static function () use ($client): void {
        $client->read();
    });
    $took = microtime(true) - $start;
    holds($took < 2.0, "it took $took s");
});
test('who polls gets null while the server is away, and what it missed when it is back', static function (): void {
    $away = array_fill(0, 6, [['request']]);
    $server = new FakeServer([welcome()], ...array_merge($away, [[welcome('resumed'), FakeServer::bytes(note(1)), ['drain']]]));
    $client = new Client($server->address, ['backoff' => 0.05] + RESUME);
    $polls = 0;
    while (($packet = $client->read(0.01)) === null && $polls < 1000) {
        $polls += 1;
    }
    same('note 1', $packet['message'] ?? null);
    holds($polls >= 3, "it polled $polls times");
});
test('a connection that is lost again and again is given up in time', static function (): void {
    $lost = [welcome('resumed'), ['expect']];
    $server = new FakeServer([welcome(), ['expect']], ...array_fill(0, 60, $lost));
    $client = new Client($server->address, ['resume_within' => 0.5, 'backoff' => 0.05] + RESUME);
    $start = microtime(true);
    throws(ResumeException::class, static function () use ($client): void {
        $client->broadcast('poison');
    });
    $took = microtime(true) - $start;
    holds($took < 3.0, "it took $took s");
});
test('a packet that was given up does not share its number with the next one', static function (): void {
    $server = new FakeServer([welcome(), ['expect'], close_with(1011), ['drain']], [welcome('resumed'), ['expect'], answers(), ['drain']]);
    $client = new Client($server->address, RESUME);
    throws(ClosedException::class, static function () use ($client): void {
        $client->broadcast('one');
    });
    $client->connect();
    $client->broadcast('two');
    $client->close();
    $received = $server->received();
    same([[1], [2]], [array_column(FakeServer::packets($received[0]), 'cseq'), array_column(FakeServer::packets($received[1]), 'cseq')]);
});

// --- every place where a connection can break -------------------------------------------------

const PACKETS = 4;

/** @param array<int, int> $cuts */
function exercise(array $cuts): void
{
    $what = 'with cuts after ' . json_encode($cuts);
    $server = new ResumingServer($cuts);
    $client = new Client($server->address, RESUME);
    $sent = [];
    for ($i = 0; $i < PACKETS; $i++) {
        $sent[] = "send $i";
        same("send $i", $client->echo("send $i")['message'], $what);
    }
    // All answers have come, but perhaps not all pushes: one for each packet and each loss.
    $pushes = array_map(static function (int $i): string {
        return "push $i";
    }, range(0, PACKETS + count($cuts) - 1));
    same($pushes, messages($client, count($pushes)), "what was read, $what");
    $resumes = $client->resumes();
    same(2 * PACKETS + count($cuts), $client->lastSeq(), $what);
    $client->close();
    $did = $server->did();
    same($sent, array_column($did['acted'], 'message'), "what the server acted on, $what");
    same([count($cuts), count($cuts) + 1], [$resumes, count($did['requests'])], $what);
}

// Per packet: itself, next, its echo, a push.
test('a cut after any frame loses nothing and doubles nothing', static function (): void {
    for ($cut = 1; $cut <= 4 * PACKETS; $cut++) {
        exercise([$cut]);
    }
});
test('neither do two cuts close together, or many', static function (): void {
    for ($cut = 1; $cut <= 4 * PACKETS - 2; $cut += 2) {
        exercise([$cut, $cut + 1]);
        exercise([$cut, $cut + 2]);
    }
    exercise(range(1, 16, 2));
});

finish();
