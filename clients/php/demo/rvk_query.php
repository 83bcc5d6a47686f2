<?php

/*
 * The query itself, as a process of its own: php rvk_query.php IDENT NOTATION TITLES
 *
 * Counts, by decade, the titles of an inventory whose RVK notation begins so. The inventory is made
 * up row by row while SQLite goes over it, so that it takes as long as one likes without a file. The
 * ident is only there to be seen in the list of processes.
 */

declare(strict_types=1);

const LONGEST = 900; // seconds of processor time
const ROWS_BETWEEN_LOOKS = 50_000;

const QUERY = <<<'SQL'
    WITH RECURSIVE title (n) AS (
      SELECT 1 UNION ALL SELECT n + 1 FROM title WHERE n < :titles AND (n % :pause <> 0 OR wanted())
    )
    SELECT 1900 + n * 7 % 130 / 10 * 10 AS decade, count(*) AS titles
    FROM title
    WHERE substr('ABCDEFGHILMNPQRSTUVWXZ', 1 + (n * 7919 >> 3) % 22, 1)
          || char(65 + (n * 104729 >> 5) % 26) || ' ' || ((n * 1299709 >> 7) % 1000) LIKE :notation || '%'
    GROUP BY decade ORDER BY decade
    SQL;

[, , $notation, $titles] = $argv;

// The last of the bounds: past it the process is ended from within, in the middle of a query as well.
ini_set('hard_timeout', '1');
set_time_limit(LONGEST);

stream_set_blocking(STDIN, false);
$database = new SQLite3(':memory:');
$database->enableExceptions(true);
$database->createFunction('wanted', static function (): bool {
    fread(STDIN, 1);
    // Whoever started this holds the other end, and its end is the end of that one.
    return !feof(STDIN) || throw new RuntimeException('nobody waits for the answer');
});

$statement = $database->prepare(QUERY);
$statement->bindValue(':notation', $notation);
$statement->bindValue(':titles', (int) $titles);
$statement->bindValue(':pause', ROWS_BETWEEN_LOOKS);
$decades = [];
try {
    $rows = $statement->execute();
    while ($row = $rows->fetchArray(SQLITE3_ASSOC)) {
        $decades[] = $row;
    }
} catch (RuntimeException $e) {
    fwrite(STDERR, "rvk_query: {$e->getMessage()}\n");
    exit(1);
}
echo json_encode($decades, JSON_THROW_ON_ERROR);
