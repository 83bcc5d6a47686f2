<?php

declare(strict_types=1);

namespace Phpws;

/**
 * The socket: bytes in and out under a deadline; it knows no WebSocket.
 *
 * It never blocks but in exchange(), which waits for both directions at once: while a long message
 * is being written, what the server sends is read, so that neither side waits for the other.
 */
final class Connection
{
    private const CHUNK = 65536;

    /** @var resource */
    private $stream;
    private string $incoming = '';
    private string $outgoing = '';
    private int $written = 0;
    private bool $ended = false;

    /** @param resource $stream */
    private function __construct($stream)
    {
        $this->stream = $stream;
    }

    public function __destruct()
    {
        $this->close();
    }

    /** Seconds on a clock that is never set back. */
    public static function now(): float
    {
        return hrtime(true) / 1e9;
    }

    /**
     * @param array<string, mixed> $ssl context options, over the defaults
     * @throws ConnectException
     */
    public static function open(Address $address, float $deadline, array $ssl): self
    {
        if ($address->secure && !extension_loaded('openssl')) {
            throw new ConnectException("$address needs PHP's extension openssl");
        }
        $context = stream_context_create([
            'socket' => ['tcp_nodelay' => true],
            'ssl' => $ssl + [
                'verify_peer' => true,
                'verify_peer_name' => true,
                'allow_self_signed' => false,
                'peer_name' => $address->host,
                // "Literal IPv4 and IPv6 addresses are not permitted" as a server name (RFC 6066, section 3).
                'SNI_enabled' => !$address->isIp(),
                'disable_compression' => true,
            ],
        ]);
        $stream = self::quietly(static function () use ($address, $deadline, $context, &$error) {
            $timeout = max(0.001, $deadline - self::now());
            return stream_socket_client($address->endpoint(), $number, $error, $timeout, STREAM_CLIENT_CONNECT, $context);
        }, $warning);
        if (!is_resource($stream)) {
            throw new ConnectException("no connection to $address: " . ($error ?: $warning));
        }
        stream_set_blocking($stream, false);
        $connection = new self($stream);
        if ($address->secure) {
            $connection->startTls($address, $deadline, $ssl);
        }
        return $connection;
    }

    /** Puts bytes behind what still waits to be written. */
    public function queue(string $bytes): void
    {
        $this->outgoing = $this->isFlushed() ? $bytes : substr($this->outgoing, $this->written) . $bytes;
        $this->written = 0;
    }

    public function isFlushed(): bool
    {
        return $this->written === strlen($this->outgoing);
    }

    /** What has been read since the last call. */
    public function take(): string
    {
        $bytes = $this->incoming;
        $this->incoming = '';
        return $bytes;
    }

    /** Whether the peer has ended the connection; what came before that can still be taken. */
    public function hasEnded(): bool
    {
        return $this->ended;
    }

    /**
     * Moves bytes either way, waiting if there are none to move.
     *
     * Something may have been read also when it answers false, which means that the deadline has
     * passed: a peer that never stops sending does not stretch it.
     */
    public function exchange(float $deadline): bool
    {
        $wrote = $this->write();
        if ($this->read() || $wrote) {
            return self::now() < $deadline;
        }
        return $this->ended || $this->wait(!$this->isFlushed(), $deadline);
    }

    public function close(): void
    {
        $this->ended = true;
        if (is_resource($this->stream)) {
            $stream = $this->stream;
            self::quietly(static function () use ($stream) {
                return fclose($stream);
            });
        }
    }

    private function write(): bool
    {
        if ($this->isFlushed() || $this->ended) {
            return false;
        }
        $bytes = substr($this->outgoing, $this->written, self::CHUNK);
        $count = self::quietly(function () use ($bytes) {
            return fwrite($this->stream, $bytes);
        }, $warning);
        if (is_int($count) && $count > 0) {
            $this->written += $count;
            return true;
        }
        // A server that refuses a message may close while it is still being written: give up the
        // rest, but go on reading, because its close frame says why.
        if ($warning !== '') {
            $this->written = strlen($this->outgoing);
        }
        return false;
    }

    private function read(): bool
    {
        if ($this->ended) {
            return false;
        }
        $bytes = self::quietly(function () {
            return fread($this->stream, self::CHUNK);
        });
        if (is_string($bytes) && $bytes !== '') {
            $this->incoming .= $bytes;
            return true;
        }
        // Not feof(): on a connection without news it may wait.
        $this->ended = stream_get_meta_data($this->stream)['eof'];
        return false;
    }

    private function wait(bool $alsoToWrite, float $deadline): bool
    {
        $left = $deadline - self::now();
        if ($left <= 0) {
            return false;
        }
        $read = [$this->stream];
        $write = $alsoToWrite ? [$this->stream] : null;
        $none = null;
        // An hour at a time also serves for "without a limit"; the caller comes back.
        $microseconds = (int) ceil(min($left, 3600.0) * 1e6);
        self::quietly(static function () use (&$read, &$write, &$none, $microseconds) {
            return stream_select($read, $write, $none, intdiv($microseconds, 1000000), $microseconds % 1000000);
        });
        return true;
    }

    /** @param array<string, mixed> $ssl */
    private function startTls(Address $address, float $deadline, array $ssl): void
    {
        $methods = $ssl['crypto_method'] ?? STREAM_CRYPTO_METHOD_TLSv1_2_CLIENT | STREAM_CRYPTO_METHOD_TLSv1_3_CLIENT;
        do {
            $done = self::quietly(function () use ($methods) {
                return stream_socket_enable_crypto($this->stream, true, $methods);
            }, $warning);
        } while ($done === 0 && $this->wait(false, $deadline));
        if ($done !== true) {
            $why = $done === 0 ? 'it took too long' : self::tlsError($warning);
            throw new ConnectException("no TLS connection to $address: $why");
        }
    }

    private static function tlsError(string $warning): string
    {
        if ($warning === '') {
            return 'the server ended the handshake';
        }
        $text = str_replace(['stream_socket_enable_crypto(): ', "\n"], ['', ' '], $warning);
        $hint = stripos($warning, 'certificate verify failed') === false ? ''
            : ' (the option "ssl" takes a "cafile" that vouches for the server)';
        return $text . $hint;
    }

    /**
     * Calls PHP's socket functions, which warn where they could return; the warning is handed back
     * instead of reaching the application's error handler.
     *
     * @return mixed
     */
    private static function quietly(callable $call, ?string &$warning = null)
    {
        $warning = '';
        set_error_handler(static function (int $level, string $text) use (&$warning): bool {
            $warning .= $warning === '' ? $text : "\n$text";
            return true;
        });
        try {
            return $call();
        } finally {
            restore_error_handler();
        }
    }
}
