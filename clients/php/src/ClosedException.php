<?php

declare(strict_types=1);

namespace Phpws;

/** The connection is closed: by the server, by the network, or because close() was called here. */
final class ClosedException extends Exception
{
    /** RFC 6455, section 7.4.1: no close frame came, the connection just ended. */
    public const LOST = 1006;
    public const NORMAL = 1000;
    /** Another connection has taken this client over. */
    public const RESUMED_ELSEWHERE = 4000;

    /** Codes after which the same packet has a fair chance on a new connection. */
    private const TEMPORARY = [1001, self::LOST, 1012, 1013, 1014];

    private string $reason;
    private ?string $error;

    /**
     * @param string  $reason text of the close frame
     * @param ?string $error  text of a `{"opcode":"close","error":…}` that came before; '' if it
     *                        came without a text, null if none came
     */
    public function __construct(int $code, string $reason = '', ?string $error = null)
    {
        parent::__construct(self::sentence($code, $reason, $error), $code);
        $this->reason = $reason;
        $this->error = $error;
    }

    public static function byThisClient(): self
    {
        $closed = new self(self::NORMAL);
        $closed->message = 'the connection was closed by this client';
        return $closed;
    }

    public function closeCode(): int
    {
        return $this->getCode();
    }

    public function reason(): string
    {
        return $this->reason;
    }

    public function error(): string
    {
        return (string) $this->error;
    }

    /** A server that said `close` and then just hung up has dismissed this client: no use in returning. */
    public function isTemporary(): bool
    {
        if ($this->closeCode() === self::LOST && $this->error !== null) {
            return false;
        }
        return in_array($this->closeCode(), self::TEMPORARY, true);
    }

    /** Whether there is nothing to resume: coming back would be as another client, or take it from another connection. */
    public function endsSession(): bool
    {
        return in_array($this->closeCode(), [self::NORMAL, self::RESUMED_ELSEWHERE], true);
    }

    private static function sentence(int $code, string $reason, ?string $error): string
    {
        $said = [];
        if ((string) $error !== '') {
            $said[] = "\"$error\"";
        }
        if ($reason !== '' && $reason !== $error) {
            $said[] = "\"$reason\"";
        }
        if ($code === self::LOST && $error === null) {
            return 'the connection was lost without a close frame';
        }
        $what = $error === null ? 'the server closed the connection' : 'the server told this client to close';
        return "$what ($code)" . ($said ? ': ' . implode(', ', $said) : '');
    }
}
