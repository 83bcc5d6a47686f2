<?php

declare(strict_types=1);

namespace Phpws;

/** The time from the loss of a connection until the client is back: when to try, and for how long. */
final class Absence
{
    /** A server that is started again is waited for, so the pauses stay short. */
    private const LONGEST_PAUSE = 2.0;
    /** A connection that is lost sooner did not end the absence. */
    private const STABLE = 10.0;

    private float $until;
    private float $next;
    private float $pause;
    private ?float $backSince = null;

    public function __construct(float $within, float $pause)
    {
        $this->next = Connection::now();
        $this->until = $this->next + $within;
        $this->pause = $pause;
    }

    public function until(): float
    {
        return $this->until;
    }

    /** Whether no further try would begin in time. */
    public function isOver(): bool
    {
        return $this->next >= $this->until;
    }

    /** Waits for the time of the next try; false if the deadline comes first. */
    public function awaitTry(float $deadline): bool
    {
        $now = Connection::now();
        $wait = min($this->next, $deadline) - $now;
        if ($wait > 0) {
            usleep((int) ceil($wait * 1e6));
        }
        if ($this->next > $deadline) {
            return false;
        }
        // Not all at the same moment, if many lost their server at the same moment.
        $this->next = max($now, $this->next) + $this->pause * random_int(750, 1000) / 1000;
        $this->pause = min(2 * $this->pause, self::LONGEST_PAUSE);
        return true;
    }

    public function back(): void
    {
        $this->backSince = Connection::now();
    }

    /** Whether a loss that is noticed now is another one. */
    public function isPast(): bool
    {
        return $this->backSince !== null && Connection::now() - $this->backSince > self::STABLE;
    }
}
