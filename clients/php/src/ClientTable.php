<?php

declare(strict_types=1);

namespace Phpws;

/**
 * Keeps a table of who is connected, from notices, in any database that PDO reaches.
 *
 * Each event has a number that only grows. What is not above the last number is passed over, so a
 * request that comes twice, or late, changes nothing: an old "left" never takes out one who came since,
 * an old "came" brings nobody back. A list of all clients replaces the table, once its last page is
 * there. One table follows one server; for another one take another prefix.
 */
final class ClientTable
{
    private \PDO $pdo;
    private string $prefix;

    /** @param string $prefix of the two tables' names: letters, digits, underscores */
    public function __construct(\PDO $pdo, string $prefix = 'phpws_')
    {
        if (preg_match('/^[A-Za-z]\w*$/D', $prefix) !== 1) {
            throw new ArgumentException("\"$prefix\" is no prefix of a table's name");
        }
        $pdo->setAttribute(\PDO::ATTR_ERRMODE, \PDO::ERRMODE_EXCEPTION);
        $this->pdo = $pdo;
        $this->prefix = $prefix;
    }

    /** Makes the two tables where they are missing. */
    public function install(): void
    {
        $this->pdo->exec("CREATE TABLE IF NOT EXISTS {$this->prefix}source (one INTEGER NOT NULL PRIMARY KEY, server VARCHAR(36) NOT NULL, "
            . 'started DOUBLE PRECISION NOT NULL, seq BIGINT NOT NULL, complete INTEGER NOT NULL, staged_seq BIGINT NOT NULL, staged_page INTEGER NOT NULL)');
        $this->pdo->exec("CREATE TABLE IF NOT EXISTS {$this->prefix}clients (staged INTEGER NOT NULL, id BIGINT NOT NULL, uuid VARCHAR(36) NOT NULL, "
            . 'resource VARCHAR(1024) NOT NULL, client_type VARCHAR(16) NOT NULL, ident VARCHAR(256) NOT NULL, ip VARCHAR(45) NOT NULL, PRIMARY KEY (staged, id))');
        if ($this->pdo->query("SELECT COUNT(*) FROM {$this->prefix}source")->fetchColumn() > 0) {
            return;
        }
        try {
            $this->pdo->exec("INSERT INTO {$this->prefix}source VALUES (1, '', 0, 0, 0, 0, 0)");
        } catch (\PDOException $e) {
            // Another request was quicker.
            if (strncmp((string) $e->getCode(), '23', 2) !== 0) {
                throw $e;
            }
        }
    }

    /** Brings the table up to date, in one transaction. */
    public function apply(Notices $notices): void
    {
        $this->pdo->beginTransaction();
        try {
            // Writing first: from here on no other request reads what this one is about to change.
            $this->run('UPDATE %ssource SET one = 1');
            $source = $this->run('SELECT * FROM %ssource')->fetch(\PDO::FETCH_ASSOC);
            if ($source['server'] !== $notices->server()) {
                $source = $this->restart($source, $notices);
            }
            if ($source !== null) {
                $source = $notices->isListing() ? $this->list($source, $notices) : $this->follow($source, $notices);
                $this->run(
                    'UPDATE %ssource SET server = ?, started = ?, seq = ?, complete = ?, staged_seq = ?, staged_page = ?',
                    [$source['server'], $source['started'], $source['seq'], $source['complete'], $source['staged_seq'], $source['staged_page']]
                );
            }
            $this->pdo->commit();
        } catch (\Throwable $e) {
            $this->pdo->rollBack();
            throw $e;
        }
    }

    /**
     * Who is connected.
     *
     * @return array<int, array{id: int, uuid: string, resource: string, client_type: string, ident: string, ip: string}>
     */
    public function clients(): array
    {
        $rows = $this->run('SELECT id, uuid, resource, client_type, ident, ip FROM %sclients WHERE staged = 0 ORDER BY id')->fetchAll(\PDO::FETCH_ASSOC);
        return array_map(static fn (array $row): array => ['id' => (int) $row['id']] + $row, $rows);
    }

    /** Whether the client of that uuid is connected. */
    public function isConnected(string $uuid): bool
    {
        return (int) $this->run('SELECT COUNT(*) FROM %sclients WHERE staged = 0 AND uuid = ?', [$uuid])->fetchColumn() > 0;
    }

    /** Whether no event is missing; if some are, the server's next list mends it. */
    public function isComplete(): bool
    {
        return (int) $this->run('SELECT complete FROM %ssource')->fetchColumn() === 1;
    }

    /**
     * Begins anew for a server that started later; null for one that was replaced already.
     *
     * @param array<string, mixed> $source
     * @return array<string, mixed>|null
     */
    private function restart(array $source, Notices $notices): ?array
    {
        if ($notices->started() < (float) $source['started']) {
            return null;
        }
        $this->run('DELETE FROM %sclients');
        return ['server' => $notices->server(), 'started' => $notices->started(), 'seq' => 0, 'complete' => 0, 'staged_seq' => 0, 'staged_page' => 0];
    }

    /**
     * @param array<string, mixed> $source
     * @return array<string, mixed>
     */
    private function follow(array $source, Notices $notices): array
    {
        foreach ($notices as $event) {
            if ($event['seq'] <= $source['seq']) {
                continue;
            }
            if ($event['seq'] > $source['seq'] + 1) {
                $source['complete'] = 0;
            }
            $event['event'] === 'came' ? $this->insert(0, $event) : $this->run('DELETE FROM %sclients WHERE staged = 0 AND id = ?', [$event['id']]);
            $source['seq'] = $event['seq'];
        }
        return $source;
    }

    /**
     * Collects the pages of a list and puts them in the table's place.
     *
     * @param array<string, mixed> $source
     * @return array<string, mixed>
     */
    private function list(array $source, Notices $notices): array
    {
        [$seq, $page] = [$notices->seq(), $notices->page()];
        $collecting = (int) $source['staged_seq'] === $seq ? (int) $source['staged_page'] : 0;
        if ($seq < max($source['seq'], $source['staged_seq']) || $collecting !== $page - 1) {
            return $source;
        }
        if ($page === 1) {
            $this->run('DELETE FROM %sclients WHERE staged = 1');
            $source['staged_seq'] = $seq;
        }
        foreach ($notices->clients() as $client) {
            $this->insert(1, $client);
        }
        $source['staged_page'] = $page;
        if ($page === $notices->pages()) {
            $this->run('DELETE FROM %sclients WHERE staged = 0');
            $this->run('UPDATE %sclients SET staged = 0');
            [$source['seq'], $source['complete'], $source['staged_page']] = [$seq, 1, 0];
        }
        return $source;
    }

    /** @param array<string, mixed> $client */
    private function insert(int $staged, array $client): void
    {
        $this->run('DELETE FROM %sclients WHERE staged = ? AND id = ?', [$staged, $client['id']]);
        $this->run(
            'INSERT INTO %sclients (staged, id, uuid, resource, client_type, ident, ip) VALUES (?, ?, ?, ?, ?, ?, ?)',
            [$staged, $client['id'], $client['uuid'], $client['resource'], $client['client_type'], $client['ident'], $client['ip']]
        );
    }

    /** @param array<int, mixed> $values */
    private function run(string $sql, array $values = []): \PDOStatement
    {
        $statement = $this->pdo->prepare(sprintf($sql, $this->prefix));
        $statement->execute($values);
        return $statement;
    }
}
