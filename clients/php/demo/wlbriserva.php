<?php

/*
 * WLBRISERVA: shows which workspaces are free, and reserves one in several steps.
 *
 *   GET                                        the free workspaces of the coming days
 *   POST {"uuid": …, "day": …, "slot": …}      reserves one; reports by uuid, tells all pages
 */

declare(strict_types=1);

namespace Phpws\Demo;

use Phpws\Client;
use SQLite3;

require_once __DIR__ . '/backend.php';

const DAYS = 6;
const DESKS = 6;
const SLOTS = ['08:00', '10:00', '12:00', '14:00', '16:00', '18:00'];
const SCHEMA = 'CREATE TABLE IF NOT EXISTS reservation (day TEXT, slot TEXT, desk INTEGER, uuid TEXT NOT NULL, PRIMARY KEY (day, slot, desk))';

/** @return list<string> */
function days(): array
{
    return array_map(static fn (int $ahead): string => date('Y-m-d', strtotime("+$ahead day")), range(1, DAYS));
}

/** Whether a workspace is taken by those who came before this demonstration. */
function isTakenLongSince(string $day, string $slot, int $desk): bool
{
    return crc32("$day $slot $desk") % 5 < 2;
}

/** @return list<int> */
function freeDesks(SQLite3 $database, string $day, string $slot): array
{
    $taken = [];
    $query = $database->prepare('SELECT desk FROM reservation WHERE day = :day AND slot = :slot');
    $query->bindValue(':day', $day);
    $query->bindValue(':slot', $slot);
    $rows = $query->execute();
    while ($row = $rows->fetchArray(SQLITE3_NUM)) {
        $taken[$row[0]] = true;
    }
    $isFree = static fn (int $desk): bool => !isset($taken[$desk]) && !isTakenLongSince($day, $slot, $desk);
    return array_values(array_filter(range(1, DESKS), $isFree));
}

/** @return array<string, mixed> */
function calendar(): array
{
    $database = database('wlbriserva', SCHEMA);
    $free = [];
    foreach (days() as $day) {
        foreach (SLOTS as $slot) {
            $free[$day][$slot] = count(freeDesks($database, $day, $slot));
        }
    }
    return ['days' => days(), 'slots' => SLOTS, 'desks' => DESKS, 'free' => $free];
}

/** Looks at one workspace after the other; who is first in the database has it, whatever was seen before. */
function takeDesk(SQLite3 $database, Client $server, string $uuid, string $day, string $slot): ?int
{
    $free = freeDesks($database, $day, $slot);
    for ($desk = 1; $desk <= DESKS; $desk++) {
        $server->feedback("Workspace $desk of " . DESKS, $uuid, ['step' => 1, 'percent' => 20 + intdiv(60 * $desk, DESKS)]);
        pause(0.5);
    }
    foreach ($free as $desk) {
        $server->feedback("Workspace $desk", $uuid, ['step' => 2, 'percent' => 90]);
        pause();
        $insert = $database->prepare('INSERT OR IGNORE INTO reservation VALUES (:day, :slot, :desk, :uuid)');
        foreach (['day' => $day, 'slot' => $slot, 'desk' => $desk, 'uuid' => $uuid] as $name => $value) {
            $insert->bindValue(":$name", $value);
        }
        $insert->execute();
        if ($database->changes() > 0) {
            return $desk;
        }
    }
    return null;
}

/** @return array<string, mixed> */
function reserve(string $uuid, string $day, string $slot): array
{
    $server = connect('/wlbriserva');
    $server->feedback('Opening hours', $uuid, ['step' => 0, 'percent' => 5]);
    pause();
    if (!in_array($day, days(), true) || !in_array($slot, SLOTS, true)) {
        throw new Refusal(404, 'The library is closed then.');
    }
    $database = database('wlbriserva', SCHEMA);
    $desk = takeDesk($database, $server, $uuid, $day, $slot);
    $free = count(freeDesks($database, $day, $slot));
    $server->send(['opcode' => 'announce', 'day' => $day, 'slot' => $slot, 'free' => $free]);
    $server->feedback('Done', $uuid, ['step' => 3, 'percent' => 100]);
    $server->close();
    return $desk === null ? throw new Refusal(409, 'No workspace is free then.') : ['day' => $day, 'slot' => $slot, 'desk' => $desk];
}

answer(static function (): array {
    if ($_SERVER['REQUEST_METHOD'] === 'GET') {
        return calendar();
    }
    $request = posted();
    return reserve($request['uuid'], text($request, 'day'), text($request, 'slot'));
});
