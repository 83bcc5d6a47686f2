<?php

declare(strict_types=1);

namespace Phpws;

/** The peer broke RFC 6455 or sent something that is no packet; the connection has been closed. */
final class ProtocolException extends Exception
{
    /** @param int $closeCode what the peer is told in the close frame (RFC 6455, section 7.4.1) */
    public function __construct(string $message, int $closeCode = 1002)
    {
        parent::__construct($message, $closeCode);
    }

    public function closeCode(): int
    {
        return $this->getCode();
    }
}
