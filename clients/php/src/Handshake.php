<?php

declare(strict_types=1);

namespace Phpws;

/**
 * The opening handshake, a client's half (RFC 6455, section 4.1): the text of the request and the
 * judgement of the answer. It knows no socket.
 */
final class Handshake
{
    /** Longest head of an answer that is read before giving up. */
    public const LONGEST_HEAD = 16384;

    private const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    /** These make the handshake what it is; a second or another value would break it. */
    private const FIXED = ['upgrade', 'connection', 'sec-websocket-key', 'sec-websocket-version', 'sec-websocket-extensions',
        'sec-websocket-protocol', 'content-length', 'transfer-encoding'];

    private string $key;
    private string $request;

    /**
     * @param array<string, string> $headers additional ones; they may replace Host, Origin, Client-Type and Ident
     * @param string $query further parameters of the resource
     * @throws ArgumentException for a header that could smuggle in another one
     */
    public function __construct(Address $address, string $ident = '', array $headers = [], string $query = '')
    {
        $this->key = base64_encode(random_bytes(16));
        $lines = [
            'Host' => $address->hostHeader(),
            'Upgrade' => 'websocket',
            'Connection' => 'Upgrade',
            'Sec-WebSocket-Key' => $this->key,
            'Sec-WebSocket-Version' => '13',
            'Origin' => $address->origin(),
            'Client-Type' => 'php',
            // This client finds every frame, so the server need not send them one by one.
            'Frames-Per-Read' => 'any',
        ];
        if ($ident !== '') {
            $lines['Ident'] = $ident;
        }
        foreach ($headers as $name => $value) {
            $lines = self::with($lines, (string) $name, $value);
        }
        $mark = $query === '' ? '' : (strpos($address->resource, '?') === false ? '?' : '&');
        $this->request = "GET {$address->resource}$mark$query HTTP/1.1\r\n";
        foreach ($lines as $name => $value) {
            self::checkHeader((string) $name, $value);
            $this->request .= "$name: $value\r\n";
        }
        $this->request .= "\r\n";
    }

    public function request(): string
    {
        return $this->request;
    }

    /** What the server must answer in Sec-WebSocket-Accept. */
    public static function accept(string $key): string
    {
        return base64_encode(sha1($key . self::MAGIC, true));
    }

    /** Whether frames follow this head; else it is a refusal, and a text follows. */
    public static function switches(string $head): bool
    {
        return preg_match('~^HTTP/1\.[01] 101\b~', $head) === 1;
    }

    /**
     * @param string $head the answer up to its blank line
     * @param string $body what came of the body, for the exception's text
     * @throws HandshakeException unless it is the 101 that belongs to the request
     */
    public function check(string $head, string $body = ''): void
    {
        $lines = preg_split('/\r?\n/', $head) ?: [''];
        $statusLine = (string) array_shift($lines);
        if (preg_match('~^HTTP/1\.[01] (\d{3})~', $statusLine, $found) !== 1) {
            $hint = strncmp($head, "\x15\x03", 2) === 0 ? ' (it speaks TLS: use wss://)' : '';
            throw new HandshakeException("the server did not answer with HTTP$hint");
        }
        $status = (int) $found[1];
        if (!self::switches($head)) {
            throw new HandshakeException("the server answered \"$statusLine\"", $status, self::firstLine($body));
        }
        $headers = self::headers($lines);
        if (strcasecmp($headers['upgrade'] ?? '', 'websocket') !== 0) {
            throw new HandshakeException('the 101 lacks "Upgrade: websocket"', $status);
        }
        if (preg_match('/(^|,)\s*upgrade\s*(,|$)/i', $headers['connection'] ?? '') !== 1) {
            throw new HandshakeException('the 101 lacks "Connection: Upgrade"', $status);
        }
        if (($headers['sec-websocket-accept'] ?? '') !== self::accept($this->key)) {
            throw new HandshakeException('the Sec-WebSocket-Accept of the 101 belongs to another request', $status);
        }
    }

    /**
     * @param array<string, string> $lines
     * @param mixed $value
     * @return array<string, string>
     */
    private static function with(array $lines, string $name, $value): array
    {
        if (!is_string($value) && !is_int($value)) {
            throw new ArgumentException("the header \"$name\" must be a string");
        }
        if (in_array(strtolower($name), self::FIXED, true)) {
            throw new ArgumentException("the header \"$name\" belongs to the handshake and cannot be set");
        }
        foreach (array_keys($lines) as $present) {
            if (strcasecmp($present, $name) === 0) {
                unset($lines[$present]);
            }
        }
        return $lines + [$name => (string) $value];
    }

    private static function checkHeader(string $name, string $value): void
    {
        if (preg_match('/^[!#$%&\'*+.^_`|~0-9A-Za-z-]+\z/', $name) !== 1) {
            throw new ArgumentException('"' . addcslashes($name, "\0..\37\177") . '" is no name of a header');
        }
        if (preg_match('/[\x00-\x08\x0a-\x1f\x7f]/', $value) === 1) {
            throw new ArgumentException("the header \"$name\" holds a line break or another control character");
        }
    }

    /**
     * @param string[] $lines
     * @return array<string, string> by name in lower case
     */
    private static function headers(array $lines): array
    {
        $headers = [];
        foreach ($lines as $line) {
            $parts = explode(':', $line, 2);
            if (isset($parts[1])) {
                $headers[strtolower(trim($parts[0]))] = trim($parts[1]);
            }
        }
        return $headers;
    }

    private static function firstLine(string $body): string
    {
        $line = strtok(ltrim($body), "\r\n");
        return $line === false ? '' : trim(substr($line, 0, 300));
    }
}
