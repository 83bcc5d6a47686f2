<?php

/*
 * EMAS: shows new titles, and orders one for the page that holds it.
 *
 *   GET  ?shelf=history&page=0     the titles of a page
 *   POST {"uuid": …, "id": …}      orders a title; reports by uuid, tells all pages
 *
 * Who holds a title, the WebSocket server knows. It is asked here, since what a page says of itself
 * can be made up.
 */

declare(strict_types=1);

namespace Phpws\Demo;

require_once __DIR__ . '/backend.php';

const TITLES_PER_PAGE = 12;
const SCHEMA = 'CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, ordered_at TEXT NOT NULL)';

const SHELVES = [
    'History' => ['the Hanse', 'Byzantium', 'the Printing Press', 'Swabia', 'the Silk Road', 'Paper'],
    'Science' => ['Lichens', 'the Moon', 'Numbers', 'Deep Water', 'Bees', 'Glass'],
    'Arts' => ['Woodcuts', 'the Organ', 'Letters', 'Bridges', 'Colour', 'Maps'],
];
const KINDS = ['A History of %s', '%s: An Introduction', 'The Atlas of %s', 'Essays on %s', 'Rethinking %s', 'The Book of %s'];
const AUTHORS = ['A. Baumann', 'C. Duval', 'E. Farkas', 'G. Holm', 'I. Jansen', 'K. Lindqvist', 'M. Novak', 'O. Prieto', 'R. Saito'];

/** @return list<array{id: string, title: string, author: string, shelf: string}> all new titles, well mixed */
function titles(): array
{
    $titles = [];
    foreach (KINDS as $kind => $pattern) {
        foreach (range(0, 5) as $topic) {
            foreach (array_keys(SHELVES) as $number => $shelf) {
                $titles[] = [
                    'id' => sprintf('9783%02d%02d%02d', $number, $topic, $kind),
                    'title' => ucfirst(sprintf($pattern, SHELVES[$shelf][$topic])),
                    'author' => AUTHORS[($number + 2 * $topic + 5 * $kind) % count(AUTHORS)],
                    'shelf' => $shelf,
                ];
            }
        }
    }
    return $titles;
}

/** @return array<string, mixed> */
function page(string $shelf, int $page): array
{
    $titles = array_values(array_filter(titles(), static fn (array $title): bool => $shelf === '' || $title['shelf'] === $shelf));
    $pages = max(1, (int) ceil(count($titles) / TITLES_PER_PAGE));
    $page = max(0, min($pages - 1, $page));
    $ordered = [];
    $rows = database('emas', SCHEMA)->query('SELECT id FROM orders');
    while ($row = $rows->fetchArray(SQLITE3_NUM)) {
        $ordered[$row[0]] = true;
    }
    $shown = array_map(
        static fn (array $title): array => $title + ['ordered' => isset($ordered[$title['id']])],
        array_slice($titles, $page * TITLES_PER_PAGE, TITLES_PER_PAGE),
    );
    return ['titles' => $shown, 'page' => $page, 'pages' => $pages, 'shelves' => array_keys(SHELVES)];
}

/** @return array<string, mixed> */
function order(string $uuid, string $id): array
{
    $titles = array_column(titles(), 'title', 'id');
    $title = $titles[$id] ?? throw new Refusal(404, 'There is no such title.');
    $server = connect('/emas');
    $server->feedback('Asking who works with it', $uuid, ['step' => 0, 'percent' => 10]);
    $server->send(['opcode' => 'holds', 'uuid' => $uuid, 'ids' => [$id]]);
    if (($server->read(5.0)['ids'] ?? []) !== [$id]) {
        throw new Refusal(409, 'Somebody else is working with this title.');
    }
    pause();
    $server->feedback('Asking the supplier', $uuid, ['step' => 1, 'percent' => 40]);
    pause(2.0);
    $server->feedback('Writing the order', $uuid, ['step' => 2, 'percent' => 80]);
    pause();
    $database = database('emas', SCHEMA);
    $insert = $database->prepare("INSERT OR IGNORE INTO orders VALUES (:id, datetime('now'))");
    $insert->bindValue(':id', $id);
    $insert->execute();
    if ($database->changes() === 0) {
        throw new Refusal(409, 'It has been ordered before.');
    }
    $server->feedback('Done', $uuid, ['step' => 3, 'percent' => 100]);
    $server->send(['opcode' => 'announce', 'ordered' => [$id]]);
    $server->close();
    return ['ordered' => $id, 'title' => $title];
}

answer(static function (): array {
    if ($_SERVER['REQUEST_METHOD'] === 'GET') {
        return page(text($_GET, 'shelf'), (int) text($_GET, 'page'));
    }
    $request = posted();
    return order($request['uuid'], text($request, 'id'));
});
