<?php

declare(strict_types=1);

namespace Phpws;

/**
 * One request with notices of who came and who went (phpws --notify-url), verified.
 *
 *     foreach (Notices::fromRequest($secret) as $event) {
 *         $event['event'];   // "came" or "left"
 *     }
 *
 * Its signature says that it comes from the server and is recent. That it is new it does not say: a
 * request is sent again until it was answered with 2xx. Numbers tell: see ClientTable.
 */
final class Notices implements \IteratorAggregate
{
    private const SIGNATURE = '/^t=(\d{1,12}),v1=([0-9a-f]{64})$/D';

    /** @var array<string, mixed> */
    private array $content;

    /** @param array<string, mixed> $content */
    private function __construct(array $content)
    {
        $this->content = $content;
    }

    /**
     * The request that PHP is answering.
     *
     * @throws NoticeException
     */
    public static function fromRequest(string $secret, int $tolerance = 300): self
    {
        $header = $_SERVER['HTTP_X_PHPWS_SIGNATURE'] ?? '';
        return self::verify((string) file_get_contents('php://input'), is_string($header) ? $header : '', $secret, $tolerance);
    }

    /**
     * A body with its header X-Phpws-Signature. The clocks may differ by $tolerance seconds.
     *
     * @throws NoticeException unless both belong together, now, and to this secret
     */
    public static function verify(string $body, string $header, string $secret, int $tolerance = 300, ?int $now = null): self
    {
        if (trim($secret) === '') {
            throw new ArgumentException('the secret is empty');
        }
        if (preg_match(self::SIGNATURE, $header, $found) !== 1) {
            throw new NoticeException('no signature');
        }
        if (!hash_equals(hash_hmac('sha256', "$found[1].$body", trim($secret)), $found[2])) {
            throw new NoticeException('the signature is not that of this secret and body');
        }
        if (abs(($now ?? time()) - (int) $found[1]) > $tolerance) {
            throw new NoticeException('the signature is too old, or the clocks differ');
        }
        $content = json_decode($body, true);
        if (!is_array($content) || !is_string($content['server'] ?? null) || !is_array($content[isset($content['resync']) ? 'clients' : 'events'] ?? null)) {
            throw new NoticeException('signed, but not a notice');
        }
        return new self($content);
    }

    /** Names one start of the server: after a restart it is another. */
    public function server(): string
    {
        return $this->content['server'];
    }

    /** When that start was, in seconds since 1970. */
    public function started(): float
    {
        return (float) ($this->content['started'] ?? 0);
    }

    /** Counts the requests; one that is sent again keeps its number. */
    public function batch(): int
    {
        return (int) ($this->content['batch'] ?? 0);
    }

    /** Whether this is a list of all who are there, or a page of it, in place of events. */
    public function isListing(): bool
    {
        return isset($this->content['resync']);
    }

    /** Of a list: the number of the last event before it. */
    public function seq(): int
    {
        return (int) ($this->content['seq'] ?? 0);
    }

    /** Of a list: which page this is, from 1 on. */
    public function page(): int
    {
        return (int) ($this->content['page'] ?? 1);
    }

    /** Of a list: how many pages it has. */
    public function pages(): int
    {
        return (int) ($this->content['pages'] ?? 1);
    }

    /**
     * Of a list: its clients, each with id, uuid, resource, client_type, ident and ip.
     *
     * @return array<int, array<string, mixed>>
     */
    public function clients(): array
    {
        return $this->content['clients'] ?? [];
    }

    /**
     * The events in their order, each with seq, event ("came" or "left"), time, for "left" code, and what
     * clients() has of a client. A list has none.
     *
     * @return \ArrayIterator<int, array<string, mixed>>
     */
    public function getIterator(): \ArrayIterator
    {
        return new \ArrayIterator($this->content['events'] ?? []);
    }
}
