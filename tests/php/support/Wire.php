<?php

/*
 * A socket for the tests' own clients: exact reads under a deadline, over TCP or TLS.
 */

declare(strict_types=1);

final class Wire
{
    /** @var resource */
    private $stream;
    public string $bytes = '';
    public bool $ended = false;

    /** @param string $cafile certificate that vouches for a wss:// server */
    public function __construct(string $address, string $cafile = '')
    {
        [$endpoint, $secure] = self::endpoint($address);
        $ssl = ['cafile' => $cafile, 'peer_name' => self::host($address), 'SNI_enabled' => false];
        $context = stream_context_create($secure ? ['ssl' => $ssl] : []);
        $stream = @stream_socket_client(($secure ? 'ssl://' : 'tcp://') . $endpoint, $number, $error, 10.0, STREAM_CLIENT_CONNECT, $context);
        if ($stream === false) {
            throw new RuntimeException("no connection to $address: $error");
        }
        stream_set_blocking($stream, false);
        $this->stream = $stream;
    }

    /** @return array{0: string, 1: bool} host:port, and whether it is TLS */
    public static function endpoint(string $address): array
    {
        if (preg_match('~^(ws|wss|tcp|ssl)://([^/]+)~', $address, $found) !== 1) {
            throw new RuntimeException("no address: $address");
        }
        return [$found[2], $found[1] === 'wss' || $found[1] === 'ssl'];
    }

    public static function host(string $address): string
    {
        return trim((string) preg_replace('/:\d+$/', '', self::endpoint($address)[0]), '[]');
    }

    /** The address without its resource. */
    public static function root(string $address): string
    {
        [$endpoint, $secure] = self::endpoint($address);
        return ($secure ? 'wss://' : 'ws://') . $endpoint;
    }

    public function write(string $bytes, float $seconds = 10.0): void
    {
        $deadline = microtime(true) + $seconds;
        while ($bytes !== '') {
            $count = @fwrite($this->stream, $bytes);
            if ($count === false || microtime(true) > $deadline) {
                throw new RuntimeException('the server does not take what is written');
            }
            $bytes = (string) substr($bytes, $count);
            if ($bytes !== '') {
                $this->wait(0.1, true);
            }
        }
    }

    /** Reads once more, up to so many bytes; false when the deadline passes, or the end has come. */
    public function more(float $deadline, int $most = 65536): bool
    {
        while (!$this->ended) {
            $chunk = @fread($this->stream, $most);
            if (is_string($chunk) && $chunk !== '') {
                $this->bytes .= $chunk;
                return true;
            }
            $this->ended = stream_get_meta_data($this->stream)['eof'];
            $left = $deadline - microtime(true);
            if ($left <= 0) {
                return false;
            }
            if (!$this->ended) {
                $this->wait($left, false);
            }
        }
        return false;
    }

    public function close(): void
    {
        $this->ended = true;
        fclose($this->stream);
    }

    private function wait(float $seconds, bool $toWrite): void
    {
        $read = $toWrite ? null : [$this->stream];
        $write = $toWrite ? [$this->stream] : null;
        $none = null;
        @stream_select($read, $write, $none, (int) $seconds, (int) (fmod($seconds, 1.0) * 1e6));
    }
}
