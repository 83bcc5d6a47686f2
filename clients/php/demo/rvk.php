<?php

/*
 * RVK browser: runs a query that may take minutes, with a monitor beside it that tells the page how
 * long it has been at work, and ends it when the page wants that or has gone.
 *
 *   POST {"uuid": …, "notation": "ST 2", "titles": 5000000}
 */

declare(strict_types=1);

namespace Phpws\Demo;

use Phpws\Client;

require_once __DIR__ . '/backend.php';
require_once __DIR__ . '/Query.php';

const MOST_TITLES = 2_000_000_000;
const LOOK_EVERY = 0.1; // seconds
const REPORT_EVERY = 1.0;

/**
 * Waits for the end of the query, or ends it.
 *
 * @return ?string why it was ended: "abort" or "gone"; null if it came to its end
 */
function monitor(Query $query, Client $server, string $uuid, string $ident, float $begin): ?string
{
    $server->send(['opcode' => 'watch', 'uuid' => $uuid]);
    $report = $begin;
    while ($query->isRunning()) {
        $opcode = $server->read(LOOK_EVERY)['opcode'] ?? '';
        if ($opcode === 'abort' || $opcode === 'gone') {
            $query->end();
            return $opcode;
        }
        if (microtime(true) >= $report) {
            $elapsed = (int) (microtime(true) - $begin);
            $server->feedback("$elapsed s", $uuid, ['elapsed' => $elapsed, 'query' => $ident]);
            $report += REPORT_EVERY;
        }
    }
    return null;
}

/** The interpreter for a command line; within FPM, PHP_BINARY is another program. */
function php(): string
{
    return in_array(PHP_SAPI, ['cli', 'cli-server'], true) ? PHP_BINARY : PHP_BINDIR . '/php';
}

/** @return array<string, mixed> */
function search(string $uuid, string $notation, int $titles): array
{
    $ident = 'rvk-' . bin2hex(random_bytes(8));
    // Without the server nobody could abort: then the query ends rather than going on unseen.
    $server = connect('/rvk', ['ident' => $ident, 'reconnect' => 0]);
    $begin = microtime(true);
    $query = new Query([php(), __DIR__ . '/rvk_query.php', $ident, $notation, (string) $titles]);
    try {
        $ended = monitor($query, $server, $uuid, $ident, $begin);
    } finally {
        $query->end();
    }
    $server->close();
    $seconds = round(microtime(true) - $begin, 1);
    if ($ended !== null) {
        return ['ended' => $ended, 'seconds' => $seconds];
    }
    $decades = json_decode($query->output(), true, 512, JSON_THROW_ON_ERROR);
    return ['decades' => $decades, 'seconds' => $seconds];
}

answer(static function (): array {
    $request = posted();
    $notation = text($request, 'notation');
    $titles = $request['titles'] ?? 0;
    if (preg_match('/^[A-Z][A-Z]?( \d{0,3})?$/', $notation) !== 1) {
        throw new Refusal(400, 'A notation begins like A, ST or ST 2.');
    }
    if (!is_int($titles) || $titles < 1 || $titles > MOST_TITLES) {
        throw new Refusal(400, 'The inventory has 1 to ' . MOST_TITLES . ' titles.');
    }
    return search($request['uuid'], $notation, $titles);
});
