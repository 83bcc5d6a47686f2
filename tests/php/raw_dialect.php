<?php

/*
 * The oldest PHP clients: no WebSocket at all, but bare JSON after "php process", in lockstep.
 *
 *     php raw_dialect.php ADDRESS [CAFILE]
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

[$root, $cafile] = given('ADDRESS [CAFILE]', 60);

/** Writes one message, reads 256 bytes once, and expects them to be one acknowledgement. */
final class RawClient
{
    private const CHUNK = 6144;

    public string $uuid;
    private Wire $wire;

    public function __construct(string $address, string $cafile, string $opening = "php process\nGET /php HTTP/1.1\n")
    {
        $this->wire = new Wire($address, $cafile);
        $this->wire->write($opening);
        $ready = $this->answer();
        if (($ready['opcode'] ?? '') !== 'ready') {
            throw new Failure('no ready but ' . json_encode($ready));
        }
        $this->uuid = $ready['uuid'];
    }

    public function talk(array $packet): void
    {
        $json = json_encode($packet, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
        $characters = preg_split('//u', $json, -1, PREG_SPLIT_NO_EMPTY);
        if (count($characters) <= self::CHUNK) {
            $this->write($json);
            return;
        }
        $this->write('bufferON');
        foreach (array_chunk($characters, self::CHUNK) as $chunk) {
            $this->write(implode('', $chunk));
        }
        $this->write('bufferOFF');
    }

    public function write(string ...$segments): void
    {
        foreach ($segments as $i => $segment) {
            if ($i > 0) {
                // A client that takes its time; the server need not have read the one before.
                usleep(20000);
            }
            $this->wire->write($segment);
        }
        $answer = $this->answer();
        if (($answer['opcode'] ?? '') !== 'next') {
            throw new Failure('no next but ' . json_encode($answer));
        }
    }

    /** @return ?array<string, mixed> what one read of 256 bytes holds, null at the end of the connection */
    public function answer(): ?array
    {
        $this->wire->bytes = '';
        if (!$this->wire->more(microtime(true) + 5.0, 256)) {
            return null;
        }
        $answer = json_decode($this->wire->bytes, true);
        if (!is_array($answer)) {
            throw new Failure('one read should hold one JSON text, but holds ' . shown($this->wire->bytes));
        }
        return $answer;
    }

    /** Two messages in one segment; the answers may come together. */
    public function writeTogether(string ...$messages): int
    {
        $this->wire->bytes = '';
        $this->wire->write(implode('', $messages));
        $deadline = microtime(true) + 5.0;
        do {
            $count = substr_count($this->wire->bytes, '"next"');
        } while ($count < count($messages) && $this->wire->more($deadline));
        return $count;
    }
}

$raw = static function () use ($root, $cafile): RawClient {
    return new RawClient($root, $cafile);
};
$browser = static function (string $ident = '') use ($root, $cafile): BrowserClient {
    return new BrowserClient($root, '/web', $cafile, $ident);
};

test('ready comes in one read of 256 bytes, 100 times in a row', static function () use ($raw): void {
    $uuids = [];
    for ($i = 0; $i < 100; $i++) {
        $uuids[$raw()->uuid] = true;
    }
    same(100, count($uuids), 'different uuids');
});
test('each message gets one next, which is alone in its read', static function () use ($raw): void {
    $client = $raw();
    for ($i = 0; $i < 100; $i++) {
        $client->talk(['opcode' => 'broadcast', 'message' => "hallo $i"]);
        $client->talk(['opcode' => 'feedback', 'uuid' => 'nobody', 'message' => 'x', 'fromUUID' => $client->uuid]);
        $client->talk(['opcode' => 'no such thing']);
    }
});
test('feedback reaches the browser with that uuid', static function () use ($raw, $browser): void {
    [$client, $right, $wrong] = [$raw(), $browser(), $browser()];
    for ($i = 0; $i < 50; $i++) {
        $client->talk(['opcode' => 'feedback', 'uuid' => $right->uuid, 'message' => "grüße $i", 'fromUUID' => $client->uuid]);
    }
    same('grüße 0', $right->packet(5.0)['message'] ?? null);
    same(49, count($right->messages(49, 5.0)), 'further messages');
    same(null, $wrong->packet(0.2), 'what the other browser got');
});
test('a message of more than 6144 characters goes between bufferON and bufferOFF', static function () use ($raw, $browser): void {
    [$client, $page] = [$raw(), $browser()];
    foreach ([6200, 9216, 60000] as $length) {
        $text = 'äüöÄÜÖß' . str_repeat('Pü', intdiv($length, 2)) . ' ÄÜÖßäüö';
        $client->talk(['opcode' => 'broadcast', 'message' => $text]);
        holds(($page->packet(5.0)['message'] ?? '') === $text, "the text of $length arrives as it was");
        $client->talk(['opcode' => 'feedback', 'uuid' => $page->uuid, 'message' => $text]);
        holds(($page->packet(5.0)['message'] ?? '') === $text, "the feedback of $length arrives as it was");
    }
});
test('messages keep their order, long and short ones', static function () use ($raw, $browser): void {
    [$client, $page] = [$raw(), $browser()];
    $sent = ['one', 'two', str_repeat('three', 2000), 'four', str_repeat('fünf', 5000), 'six'];
    foreach ($sent as $message) {
        $client->talk(['opcode' => 'broadcast', 'message' => $message]);
    }
    holds($page->messages(6, 5.0) === $sent, 'all came in order');
});
test('a message ends where its JSON ends, not where a segment ends', static function () use ($raw, $browser): void {
    [$client, $page] = [$raw(), $browser()];
    $client->write('{"opcode":"broad', 'cast","message":"in {two} \"seg', 'ments\\\\"}');
    same('in {two} "segments\\', $page->packet(5.0)['message'] ?? null);
    same(3, $client->writeTogether('{"opcode":"broadcast","message":"a"}', '{"opcode":"broadcast","message":"b"}', '{"opcode":"x"}'), 'acknowledgements');
    same(['a', 'b'], $page->messages(2, 5.0));
});
test('quit is acknowledged, then the server closes', static function () use ($raw): void {
    $client = $raw();
    $client->write('{"opcode":"quit"}');
    for ($i = 0; $i < 3 && ($answer = $client->answer()) !== null; $i++) {
        same('close', $answer['opcode'] ?? null, 'all that may still come');
    }
    same(null, $client->answer(), 'what comes after that');
});
test('an unknown resource, and none at all, are answered with close', static function () use ($root, $cafile): void {
    foreach (["php process\nGET /nowhere HTTP/1.1\n", "php process\nhello\n"] as $opening) {
        throws(Failure::class, static function () use ($root, $cafile, $opening): void {
            new RawClient($root, $cafile, $opening);
        }, '{"opcode":"close"');
    }
});

finish();
