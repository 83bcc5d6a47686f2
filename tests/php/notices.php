<?php

/*
 * Notices of who came and who went: their signature, the table that follows them, and a running server
 * that tells PHP's own web server.
 *
 *     php notices.php PHPWS
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

use Phpws\ArgumentException;
use Phpws\Client;
use Phpws\ClientTable;
use Phpws\NoticeException;
use Phpws\Notices;

[$binary] = given('PHPWS', 60);

const SECRET = 'known to both sides';

function signed(string $body, ?int $time = null, string $secret = SECRET): string
{
    $time = $time ?? time();
    return "t=$time,v1=" . hash_hmac('sha256', "$time.$body", $secret);
}

/** A request as the server sends it. */
function notices(array $content, string $server = 'server-1', float $started = 1000.0): Notices
{
    $body = json_encode($content + ['server' => $server, 'started' => $started, 'batch' => 1]);
    return Notices::verify($body, signed($body), SECRET);
}

function event(int $seq, string $event, int $id): array
{
    return ['seq' => $seq, 'event' => $event, 'time' => 1.5] + client($id) + ($event === 'left' ? ['code' => 1000] : []);
}

function client(int $id): array
{
    return ['id' => $id, 'uuid' => "uuid-$id", 'resource' => '/web', 'client_type' => 'websocket', 'ident' => '', 'ip' => '127.0.0.1'];
}

/** Events in the short form: 3 came, -3 left; the first has the number $seq. */
function events(int $seq, array $ids, string $server = 'server-1', float $started = 1000.0): Notices
{
    $events = [];
    foreach ($ids as $i => $id) {
        $events[] = event($seq + $i, $id > 0 ? 'came' : 'left', abs($id));
    }
    return notices(['events' => $events], $server, $started);
}

function listing(int $seq, array $ids, int $page = 1, int $pages = 1, string $server = 'server-1', float $started = 1000.0): Notices
{
    return notices(['resync' => true, 'seq' => $seq, 'page' => $page, 'pages' => $pages, 'clients' => array_map('client', $ids)], $server, $started);
}

function table(Notices ...$all): ClientTable
{
    $table = new ClientTable(new PDO('sqlite::memory:'));
    $table->install();
    foreach ($all as $notices) {
        $table->apply($notices);
    }
    return $table;
}

function ids(ClientTable $table): array
{
    return array_column($table->clients(), 'id');
}

// ---- the signature

test('a signed body is taken and read', static function (): void {
    $notices = events(7, [3, -3]);
    same(['server-1', 1000.0, 1, false], [$notices->server(), $notices->started(), $notices->batch(), $notices->isListing()]);
    $read = iterator_to_array($notices);
    same(['came', 'left'], array_column($read, 'event'));
    same([7, 8], array_column($read, 'seq'));
    $list = listing(9, [1, 2], 2, 3);
    same([true, 9, 2, 3, 2, 0], [$list->isListing(), $list->seq(), $list->page(), $list->pages(), count($list->clients()), count(iterator_to_array($list))]);
});
test('another body, secret or time is refused', static function (): void {
    $body = '{"server":"s","events":[]}';
    $header = signed($body);
    Notices::verify($body, $header, SECRET);
    Notices::verify($body, $header, SECRET . "\n");
    foreach ([[$body . ' ', $header], [$body, signed($body, null, 'other')], [$body, ''], [$body, 'v1=00'], [$body, "$header\n"], [$body, substr($header, 0, -1)],
        [$body, preg_replace('/t=\d+/', 't=' . (time() + 1), $header)], [$body, strtoupper($header)]] as [$sent, $signature]) {
        throws(NoticeException::class, static function () use ($sent, $signature): void {
            Notices::verify($sent, $signature, SECRET);
        });
    }
    throws(ArgumentException::class, static function () use ($body, $header): void {
        Notices::verify($body, $header, '');
    });
});
test('what is too old, or from the future, is refused', static function (): void {
    $body = '{"server":"s","events":[]}';
    foreach ([[1000, 1300, true], [1000, 1301, false], [1300, 1000, true], [1301, 1000, false]] as [$signed, $now, $good]) {
        $verify = static function () use ($body, $signed, $now): void {
            Notices::verify($body, signed($body, $signed), SECRET, 300, $now);
        };
        $good ? $verify() : throws(NoticeException::class, $verify, 'too old');
    }
});
test('a signed body that is no notice is refused', static function (): void {
    foreach (['', '[]', '{}', '{"server":"s"}', '{"server":1,"events":[]}', '{"server":"s","resync":true}', '{"server":"s","events":7}'] as $body) {
        throws(NoticeException::class, static function () use ($body): void {
            Notices::verify($body, signed($body), SECRET);
        }, 'not a notice');
    }
});

// ---- the table

test('the table follows', static function (): void {
    $table = table(listing(0, []), events(1, [1, 2, -1, 3]));
    same([[2, 3], true, true, false], [ids($table), $table->isComplete(), $table->isConnected('uuid-2'), $table->isConnected('uuid-1')]);
    same(client(2), $table->clients()[0]);
});
test('a request that comes twice or late changes nothing', static function (): void {
    $came = events(1, [1]);
    $left = events(2, [-1]);
    same([], ids(table(listing(0, []), $came, $left, $came)), 'an old "came" brings nobody back');
    same([1], ids(table(listing(0, []), events(1, [1, -1]), events(3, [1]), $left)), 'an old "left" takes nobody out');
    same([1], ids(table(listing(0, []), $came, listing(0, []))), 'an old list is no news');
    same([1, 2], ids(table(listing(0, []), $came, events(1, [1, 2]))), 'what overlaps is taken where it is new');
});
test('a gap is seen, and mended by the next list', static function (): void {
    $table = table(listing(0, []), events(1, [1]), events(5, [5]));
    same([false, [1, 5]], [$table->isComplete(), ids($table)]);
    $table->apply(listing(9, [5, 6]));
    same([true, [5, 6]], [$table->isComplete(), ids($table)]);
    $table->apply(events(10, [-5]));
    same([true, [6]], [$table->isComplete(), ids($table)]);
});
test('a list of several pages counts when its last one is there', static function (): void {
    $table = table(listing(0, []), events(1, [1]), listing(9, [2, 3], 1, 3), listing(9, [4], 2, 3));
    same([1], ids($table));
    foreach ([listing(9, [2, 3], 1, 3), listing(9, [4], 2, 3), listing(5, [8])] as $late) {
        $table->apply($late);
    }
    $table->apply(listing(9, [5], 3, 3));
    same([[2, 3, 4, 5], true], [ids($table), $table->isComplete()]);
    $table->apply(listing(9, [5], 3, 3));
    same([2, 3, 4, 5], ids($table));
    $table->apply(listing(20, [9], 1, 2));
    $table->apply(listing(30, [7], 1, 1));
    same([7], ids($table), 'a newer list replaces one that is under way');
});
test('a server that starts anew begins anew, and the old one is not heard again', static function (): void {
    $table = table(listing(0, []), events(1, [1, 2]), listing(0, [], 1, 1, 'server-2', 2000.0), events(1, [1], 'server-2', 2000.0), events(3, [3], 'server-1', 1000.0));
    same([[1], true], [ids($table), $table->isComplete()]);
});
test('a table that is made while the server runs waits for a list', static function (): void {
    $table = table(events(100, [1]));
    same([false, [1]], [$table->isComplete(), ids($table)]);
});
test('two tables live in one database; a bad name is refused', static function (): void {
    $pdo = new PDO('sqlite::memory:');
    [$one, $other] = [new ClientTable($pdo, 'one_'), new ClientTable($pdo, 'other_')];
    foreach ([$one, $other, $one] as $table) {
        $table->install();
    }
    $one->apply(events(1, [1]));
    same([[1], []], [ids($one), ids($other)]);
    throws(ArgumentException::class, static function () use ($pdo): void {
        new ClientTable($pdo, 'x; DROP TABLE y');
    });
});

// ---- a running server

test('a running server keeps the example\'s table right', static function () use ($binary): void {
    $folder = sys_get_temp_dir() . '/phpws-notices-' . getmypid();
    mkdir($folder);
    $dsn = "sqlite:$folder/clients.sqlite";
    $listener = stream_socket_server('tcp://127.0.0.1:0');
    $web = (string) stream_socket_get_name($listener, false);
    fclose($listener);
    $environment = ['PHPWS_NOTIFY_SECRET' => SECRET, 'PHPWS_NOTICES_DSN' => $dsn];
    $site = proc_open([PHP_BINARY, '-S', $web, '-t', __DIR__ . '/../../clients/php/examples'], [['file', '/dev/null', 'r'], ['file', '/dev/null', 'w'], ['file', "$folder/log", 'w']], $pipes, null, $environment + getenv());
    try {
        $server = new Server($binary, 0, ['--notify-url', "http://$web/notices.php"], $environment);
        $table = new ClientTable(new PDO($dsn));
        $table->install();
        $shows = static function (array $uuids) use ($table, $folder): void {
            $deadline = microtime(true) + 10.0;
            sort($uuids);
            do {
                usleep(10000);
                $there = array_column($table->clients(), 'uuid');
                sort($there);
            } while (($there !== $uuids || !$table->isComplete()) && microtime(true) < $deadline);
            same($uuids, $there, 'who is there; ' . file_get_contents("$folder/log"));
        };
        $shows([]);
        $root = Wire::root($server->address());
        $pages = array_map(static fn (): BrowserClient => new BrowserClient($root), range(1, 20));
        $script = new Client($server->address(), ['ident' => 'worker']);
        $uuids = array_column($pages, 'uuid');
        $shows(array_merge($uuids, [$script->uuid()]));
        same(true, $table->isConnected($script->uuid()));
        $row = array_values(array_filter($table->clients(), static fn (array $client): bool => $client['ident'] === 'worker'))[0];
        same(['/php', 'php', '127.0.0.1'], [$row['resource'], $row['client_type'], $row['ip']]);
        $script->close();
        $pages = array_slice($pages, 0, 5);
        $shows(array_slice($uuids, 0, 5));

        $server->stop(9);
        $server = new Server($binary, 0, ['--notify-url', "http://$web/notices.php"], $environment);
        $shows([]);
        $page = new BrowserClient(Wire::root($server->address()));
        $shows([$page->uuid]);
        $server->stop(15);
        $shows([]);

        $context = stream_context_create(['http' => ['method' => 'POST', 'content' => '{}', 'header' => 'Content-Type: application/json', 'ignore_errors' => true, 'timeout' => 10.0]]);
        $answer = fopen("http://$web/notices.php", 'r', false, $context);
        same('403', explode(' ', stream_get_meta_data($answer)['wrapper_data'][0])[1], 'the answer to a stranger');
    } finally {
        proc_terminate($site, 15);
        proc_close($site);
        array_map('unlink', (array) glob("$folder/*"));
        rmdir($folder);
    }
});

finish();
