<?php

declare(strict_types=1);

namespace Phpws;

/** There is a server, but it did not answer the WebSocket handshake with a proper 101. */
final class HandshakeException extends Exception
{
    private string $bodyLine;
    private bool $unanswered;

    /**
     * @param int    $status     the HTTP status, 0 if the answer was not HTTP
     * @param string $line       first line of the answer's body, '' if it had none
     * @param bool   $unanswered whether the server hung up without a word, as one does that is restarted
     */
    public function __construct(string $message, int $status = 0, string $line = '', bool $unanswered = false)
    {
        parent::__construct($line === '' ? $message : "$message: $line", $status);
        $this->bodyLine = $line;
        $this->unanswered = $unanswered;
    }

    public function status(): int
    {
        return $this->getCode();
    }

    public function line(): string
    {
        return $this->bodyLine;
    }

    /** Whether the same request may well succeed a moment later. */
    public function isTemporary(): bool
    {
        return $this->unanswered || $this->status() === 429 || $this->status() >= 500;
    }
}
