<?php

declare(strict_types=1);

namespace Phpws;

/** The server answered `refused`: a room it does not open, or an opcode it does not permit. The connection stays. */
final class RefusedException extends Exception
{
    /** @param array<array-key, mixed> $packet the server's answer */
    public static function by(array $packet): self
    {
        $why = $packet['error'] ?? '';
        return new self("the server refused {$packet['refused']}" . (is_string($why) && $why !== '' ? ": $why" : ''));
    }
}
