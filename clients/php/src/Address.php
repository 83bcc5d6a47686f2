<?php

declare(strict_types=1);

namespace Phpws;

/**
 * Where the server is: `ws://host:port/resource`, parsed once, refused if it is in doubt.
 *
 * `tcp` means `ws`, `ssl` means `wss`, and no scheme means `ws`. The resource defaults to `/php`,
 * the port to 80 or 443. An IPv6 address stands in brackets.
 */
final class Address
{
    public const DEFAULT_RESOURCE = '/php';
    private const SECURE = ['ws' => false, 'tcp' => false, 'wss' => true, 'ssl' => true];

    public bool $secure;
    /** Without brackets. */
    public string $host;
    public int $port;
    /** As it stands in the request line: path and query. */
    public string $resource;

    /** @throws ArgumentException */
    public function __construct(string $address)
    {
        if (preg_match('/[\x00-\x20\x7f]/', $address) === 1) {
            throw new ArgumentException('the address holds a blank or a control character');
        }
        $parts = explode('://', $address, 2);
        $scheme = isset($parts[1]) ? strtolower($parts[0]) : 'ws';
        if (!isset(self::SECURE[$scheme])) {
            throw new ArgumentException("unknown scheme \"$scheme\" in \"$address\": use ws, wss, tcp or ssl");
        }
        $this->secure = self::SECURE[$scheme];

        $rest = $parts[1] ?? $parts[0];
        $end = strcspn($rest, '/?#');
        $this->readAuthority(substr($rest, 0, $end), $address);
        $this->readResource(substr($rest, $end), $address);
    }

    /** For stream_socket_client(). */
    public function endpoint(): string
    {
        return "tcp://{$this->bracketed()}:{$this->port}";
    }

    /** Value of the Host header: the port stands there unless it is the scheme's own. */
    public function hostHeader(): string
    {
        return $this->port === $this->defaultPort() ? $this->bracketed() : "{$this->bracketed()}:{$this->port}";
    }

    public function origin(): string
    {
        return ($this->secure ? 'https://' : 'http://') . $this->hostHeader();
    }

    public function isIp(): bool
    {
        return filter_var($this->host, FILTER_VALIDATE_IP) !== false;
    }

    public function __toString(): string
    {
        return ($this->secure ? 'wss://' : 'ws://') . "{$this->bracketed()}:{$this->port}{$this->resource}";
    }

    private function readAuthority(string $authority, string $address): void
    {
        if (strpos($authority, '@') !== false) {
            throw new ArgumentException('the address holds a user name; use the option "headers" to authenticate');
        }
        $pattern = '/^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\[\]:]+))(?::(\d{1,5}))?$/';
        if (preg_match($pattern, $authority, $found) !== 1) {
            throw new ArgumentException("no host[:port] in \"$address\" (an IPv6 address needs brackets)");
        }
        $this->host = $found[1] !== '' ? $found[1] : $found[2];
        $this->port = isset($found[3]) ? (int) $found[3] : $this->defaultPort();
        if ($this->port < 1 || $this->port > 65535) {
            throw new ArgumentException("port {$this->port} in \"$address\" is not in 1..65535");
        }
    }

    private function readResource(string $resource, string $address): void
    {
        if (strpos($resource, '#') !== false) {
            throw new ArgumentException("\"$address\" holds a fragment (#), which a request cannot carry");
        }
        if ($resource === '') {
            $resource = self::DEFAULT_RESOURCE;
        }
        $this->resource = $resource[0] === '?' ? self::DEFAULT_RESOURCE . $resource : $resource;
    }

    private function defaultPort(): int
    {
        return $this->secure ? 443 : 80;
    }

    private function bracketed(): string
    {
        return strpos($this->host, ':') === false ? $this->host : "[{$this->host}]";
    }
}
