<?php

declare(strict_types=1);

namespace Phpws;

/** The server was asked over HTTP and refused, or found nobody: nothing was sent. With 503 it does not know, or the client reads too slowly. */
final class PublishException extends Exception
{
    public function __construct(int $status, string $error)
    {
        parent::__construct($error === '' ? "HTTP status $status" : "$error (HTTP status $status)", $status);
    }

    /** 404: nobody there; 401, 403: not from here; 400, 413: the message; 409, 422: the idempotency key; 429: too often; 503: nobody knows, or the client reads too slowly. */
    public function status(): int
    {
        return $this->getCode();
    }

    /** Whether the same request may well succeed a moment later. */
    public function isTemporary(): bool
    {
        return in_array($this->status(), [409, 429], true) || $this->status() >= 500;
    }
}
