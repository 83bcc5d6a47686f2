<?php

/*
 * Clients that see one frame a read (support/NaiveClient.php) lose nothing.
 *
 *     php one_frame_per_read.php ADDRESS [CAFILE] [--busy]
 *
 * With --busy, two further processes keep the processors busy meanwhile.
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

$busy = in_array('--busy', $argv, true);
$words = array_values(array_diff(array_slice($argv, 1), ['--busy']));
[$root, $cafile] = given('ADDRESS [CAFILE] [--busy]', 120, $words);

/** @return resource a PHP process; its output goes where ours goes, since nothing else is said */
function started(array $command)
{
    $process = proc_open(array_merge([PHP_BINARY], $command), [['file', '/dev/null', 'r']], $pipes);
    if (!is_resource($process)) {
        throw new RuntimeException('no process');
    }
    return $process;
}

$burners = [];
for ($i = 0; $busy && $i < 2; $i++) {
    $burners[] = started(['-r', '$end = time() + 60; while (time() < $end && posix_getppid() > 1) { sha1("x"); }']);
}

test('connecting 300 times in a tight loop never fails', static function () use ($root, $cafile): void {
    $failed = [];
    for ($i = 0; $i < 300; $i++) {
        $client = new NaiveClient($root, '', $cafile);
        if (!$client->connected) {
            $failed[] = "connect $i: {$client->trouble}";
            // Each failure costs 2 s.
            holds(count($failed) < 5, implode('; ', $failed) . '; no further attempts');
        }
    }
    same([], $failed, 'the failures');
});

test('next is the first frame after each write', static function () use ($root, $cafile): void {
    $client = new NaiveClient($root, '', $cafile);
    holds($client->connected, "connected {$client->trouble}");
    $packets = [['opcode' => 'broadcast', 'message' => 'x'], ['opcode' => 'feedback', 'uuid' => 'nobody', 'ident' => '', 'message' => 'x'],
        ['opcode' => 'no such thing'], ['opcode' => 'broadcast', 'message' => str_repeat('ü', 20000)]];
    for ($i = 0; $i < 100; $i++) {
        same('next', json_decode($client->talk($packets[$i % 4]), true)['opcode'] ?? null, "the answer to packet $i");
    }
});

test('an echo comes in the read after next, also a long one', static function () use ($root, $cafile): void {
    $client = new NaiveClient($root, '', $cafile);
    for ($i = 0; $i < 50; $i++) {
        $text = str_repeat("echo $i ", $i % 10 === 9 ? 3000 : 1);
        same('next', json_decode($client->talk(['opcode' => 'echo', 'message' => $text]), true)['opcode'] ?? null, "the answer to echo $i");
        holds((json_decode($client->read(), true)['message'] ?? null) === $text, "echo $i came back whole");
    }
});

for ($round = 1; $round <= 3; $round++) {
    test("a receiver gets 50 of 50 from a fast sender, in order (round $round)", static function () use ($root, $cafile, $round): void {
        $ident = 'naive-' . getmypid() . "-$round";
        $receiver = new NaiveClient($root, $ident, $cafile);
        holds($receiver->connected, "connected {$receiver->trouble}");
        $sender = started(array_merge([__DIR__ . '/support/fast_sender.php', "$root/php", $ident, '50'], $cafile === '' ? [] : [$cafile]));
        $expected = $got = [];
        for ($i = 0; $i < 50; $i++) {
            $expected[] = "message $i";
            $text = $receiver->read();
            if ($text === '') {
                break;
            }
            $got[] = json_decode($text, true)['message'] ?? $text;
        }
        same(0, proc_close($sender), 'the sender\'s exit code');
        same([], array_values(array_diff($expected, $got)), 'what was lost (' . count($got) . ' came)');
        same($expected, $got, 'what came');
    });
}

test('a receiver that also sends sees next first once it has read what waited', static function () use ($root, $cafile): void {
    $ident = 'both-' . getmypid();
    [$receiver, $sender] = [new NaiveClient($root, $ident, $cafile), new NaiveClient($root, '', $cafile)];
    for ($i = 0; $i < 50; $i++) {
        $sender->talk(['opcode' => 'feedback', 'ident' => $ident, 'uuid' => '', 'message' => $i]);
        same($i, json_decode($receiver->read(), true)['message'] ?? null);
        same('next', json_decode($receiver->talk(['opcode' => 'nothing']), true)['opcode'] ?? null, "the answer after feedback $i");
    }
    $receiver->close();
    $sender->close();
});

foreach ($burners as $burner) {
    proc_terminate($burner, 9);
}
finish();
