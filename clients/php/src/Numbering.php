<?php

declare(strict_types=1);

namespace Phpws;

/**
 * The numbers by which a server that resumes and this client tell each other what they have: `seq` and
 * `at` of what came, `cseq` of what goes. It knows no socket. See docs/resume.md.
 */
final class Numbering
{
    /** `at` stands in a request line; a packet may have something else of that name. */
    private const LONGEST_PLACE = 64;

    private string $uuid;
    private int $seq = 0;
    /** Where in all that several servers share; '' if none was told. */
    private string $at = '';
    private int $acknowledged = 0;

    /** @param array<array-key, mixed> $ready */
    private function __construct(array $ready)
    {
        $this->uuid = (string) $ready['uuid'];
        $this->advance($ready);
    }

    /**
     * @param array<array-key, mixed> $ready
     * @return ?self null if the server keeps nobody
     */
    public static function begun(array $ready): ?self
    {
        return isset($ready['resume']) ? new self($ready) : null;
    }

    /**
     * Whether the server still knows this client; then the numbers go on.
     *
     * @param array<array-key, mixed> $ready
     */
    public function goesOn(array $ready): bool
    {
        $still = ($ready['uuid'] ?? null) === $this->uuid && in_array($ready['resume'] ?? null, ['resumed', 'gap'], true);
        if ($still) {
            $this->advance($ready);
        }
        return $still;
    }

    /** What the request asks for. */
    public function query(): string
    {
        $at = $this->at === '' ? '' : '&at=' . rawurlencode($this->at);
        return 'resume=' . rawurlencode($this->uuid) . "&seq={$this->seq}$at";
    }

    public function seq(): int
    {
        return $this->seq;
    }

    /**
     * Whether this packet has not come before. What has no number comes once only.
     *
     * @param array<array-key, mixed> $packet
     */
    public function isNew(array $packet): bool
    {
        $seq = $packet['seq'] ?? null;
        if (!is_int($seq) || in_array($packet['opcode'] ?? null, ['ready', 'next'], true)) {
            return true;
        }
        if ($seq <= $this->seq) {
            return false;
        }
        $this->advance($packet);
        return true;
    }

    /**
     * Packets are acknowledged in their order, so a packet's number follows from its place.
     *
     * @param array<array-key, mixed> $packet
     * @param int $ahead how many are sent but not acknowledged before it
     * @return array<array-key, mixed>
     */
    public function numbered(array $packet, int $ahead): array
    {
        unset($packet['cseq']);
        $packet['cseq'] = $this->acknowledged + $ahead + 1;
        return $packet;
    }

    /** Also of packets that are given up: the server may have seen their numbers. */
    public function acknowledged(int $packets = 1): void
    {
        $this->acknowledged += $packets;
    }

    /** @param array<array-key, mixed> $packet */
    private function advance(array $packet): void
    {
        $this->seq = max($this->seq, is_int($packet['seq'] ?? null) ? $packet['seq'] : 0);
        $at = $packet['at'] ?? null;
        if ((is_string($at) || is_int($at)) && strlen((string) $at) <= self::LONGEST_PLACE) {
            $this->at = (string) $at;
        }
    }
}
