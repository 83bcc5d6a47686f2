<?php

declare(strict_types=1);

namespace Phpws;

/**
 * Sends messages over HTTP: one request each, on PHP's own streams, and an answer that says what
 * became of it.
 *
 * It keeps no connection and needs no extension (`ext-openssl` for https). It cannot receive; for
 * that, and for many messages in a row, there is Client.
 */
final class Publisher
{
    private Address $address;
    private string $token;
    private float $timeout;
    /** @var array<string, mixed> */
    private array $ssl;

    /**
     * @param string $address `http://host:port`; also https, and ws, wss, tcp, ssl as Client takes them
     * @param array<string, mixed> $options `token`: for a server that does not know this host;
     *                                      `timeout`: seconds, 10; `ssl`: PHP's ssl context options
     * @throws ArgumentException
     */
    public function __construct(string $address, array $options = [])
    {
        $unknown = array_diff(array_keys($options), ['token', 'timeout', 'ssl']);
        if ($unknown !== []) {
            throw new ArgumentException('unknown option "' . implode('", "', $unknown) . '": there are token, timeout and ssl');
        }
        $this->address = new Address((string) preg_replace(['#^http://#i', '#^https://#i'], ['ws://', 'wss://'], $address));
        $this->token = (string) ($options['token'] ?? '');
        if (preg_match('/^[\x21-\x7e]*$/D', $this->token) !== 1) {
            throw new ArgumentException('the token holds a blank or a control character');
        }
        $this->timeout = (float) ($options['timeout'] ?? 10.0);
        $this->ssl = (array) ($options['ssl'] ?? []);
    }

    /**
     * A random key for one message. Send the message again with the same one, and nobody gets it twice.
     *
     * Make it before the first try, and keep it for the tries that follow.
     */
    public static function idempotencyKey(): string
    {
        return bin2hex(random_bytes(16));
    }

    /**
     * To the browser that has this uuid.
     *
     * @param mixed $message whatever JSON can hold
     * @param array<string, mixed> $extra further keys of the packet
     * @param string $key a newer message with the same key replaces this one while it waits for a slow browser
     * @param string $idempotencyKey for a message that may be sent again: for 5 minutes the same call gets the same answer
     * @return array{delivered: int, queued: int}
     * @throws PublishException with status 404 if nobody has that uuid; with 503 if the client reads too slowly, and, of several
     *                          processes, if nobody knows: it may have arrived, so send it again only if twice does no harm
     */
    public function feedback($message, string $uuid, array $extra = [], string $key = '', string $idempotencyKey = ''): array
    {
        if (preg_match('/^[\w-]+$/D', $uuid) !== 1) {
            throw new ArgumentException('feedback needs the uuid of a browser, but it is "' . $uuid . '"');
        }
        return $this->send("/feedback/$uuid", ['key' => $key], $message, $extra, $idempotencyKey);
    }

    /**
     * To the first client, script or browser, that connected with this ident.
     *
     * @param mixed $message
     * @param array<string, mixed> $extra
     * @return array{delivered: int, queued: int}
     * @throws PublishException with status 404 if nobody has that ident
     */
    public function feedbackTo($message, string $ident, array $extra = [], string $key = '', string $idempotencyKey = ''): array
    {
        if ($ident === '') {
            throw new ArgumentException('feedbackTo needs the ident of a client, but it is empty');
        }
        return $this->send('/feedback', ['ident' => $ident, 'key' => $key], $message, $extra, $idempotencyKey);
    }

    /**
     * To all browsers, or to those on one resource.
     *
     * @param mixed $message
     * @param array<string, mixed> $extra
     * @return array{delivered: int, queued: int, unknown?: true} both 0 if nobody is there; `unknown` if others may have it
     *                                                            too, since not all processes answered
     */
    public function broadcast($message, array $extra = [], string $resource = '', string $key = '', string $idempotencyKey = ''): array
    {
        return $this->send('/broadcast', ['resource' => $resource, 'key' => $key], $message, $extra, $idempotencyKey);
    }

    /**
     * Several messages in one request, each an array with `message`, with one of `uuid`, `ident`,
     * `broadcast` (true) and `resource`, and perhaps with `key` and `idempotency-key`.
     *
     * A `message` that is an array with string keys is the packet's own members; all else becomes the
     * packet's `message`.
     *
     * @param array<int, array<string, mixed>> $messages
     * @param string $idempotencyKey for all of them together; one for each message sends again only what failed
     * @return array<int, array<string, mixed>> for each message `status`, and as far as it went
     *                                          `delivered`, `queued`, `failed`, `error`, `unknown`, `replayed`
     */
    public function publish(array $messages, string $idempotencyKey = ''): array
    {
        $body = '[' . implode(',', array_map([Json::class, 'encode'], array_values($messages))) . ']';
        return array_map([self::class, 'counted'], $this->ask('POST', '/publish', $body, $idempotencyKey)['results']);
    }

    /**
     * What the server knows of a client; null if nobody has that uuid.
     *
     * @return ?array<string, mixed> `connected`, `since`, `seconds`, `queued` (bytes), `client_type`, `resource`
     * @throws PublishException with status 503, of several processes, if the one that may know does not answer
     */
    public function client(string $uuid): ?array
    {
        try {
            return $this->ask('GET', '/clients/' . rawurlencode($uuid), '');
        } catch (PublishException $e) {
            if ($e->status() === 404) {
                return null;
            }
            throw $e;
        }
    }

    /**
     * @param array<string, string> $query empty values are left out
     * @param mixed $message
     * @param array<string, mixed> $extra
     * @return array{delivered: int, queued: int, unknown?: true}
     */
    private function send(string $path, array $query, $message, array $extra, string $idempotencyKey): array
    {
        $query = http_build_query(array_filter($query, static fn (string $value): bool => $value !== ''));
        $target = $path . ($query === '' ? '' : "?$query");
        $answer = $this->ask('POST', $target, Json::encode(['message' => $message] + $extra), $idempotencyKey);
        return array_intersect_key(self::counted($answer), ['delivered' => 0, 'queued' => 0, 'unknown' => 0]);
    }

    /**
     * With `delivered` always a number: where the server says "unknown", what it knows of, and `unknown` beside it.
     *
     * @param array<string, mixed> $answer
     * @return array<string, mixed>
     */
    private static function counted(array $answer): array
    {
        if (($answer['delivered'] ?? 0) === 'unknown') {
            $answer = ['delivered' => $answer['known'] ?? 0, 'unknown' => true] + $answer;
            unset($answer['known']);
        }
        return $answer;
    }

    /** @return array<array-key, mixed> */
    private function ask(string $method, string $target, string $body, string $idempotencyKey = ''): array
    {
        [$status, $text] = $this->request($method, $target, $body, $idempotencyKey);
        try {
            $answer = Json::decode($text);
        } catch (ProtocolException $e) {
            $answer = ['error' => trim($text)];
        }
        if ($status < 200 || $status > 299) {
            throw new PublishException($status, (string) ($answer['error'] ?? ''));
        }
        return $answer;
    }

    /** @return array{0: int, 1: string} status and body */
    private function request(string $method, string $target, string $body, string $idempotencyKey): array
    {
        if (preg_match('/^[\x21-\x7e]*$/D', $idempotencyKey) !== 1) {
            throw new ArgumentException('the idempotency key holds a blank or a control character');
        }
        $headers = ['Accept: application/json', 'Connection: close'];
        if ($body !== '') {
            $headers[] = 'Content-Type: application/json';
        }
        if ($idempotencyKey !== '') {
            $headers[] = "Idempotency-Key: $idempotencyKey";
        }
        if ($this->token !== '') {
            $headers[] = "Authorization: Bearer {$this->token}";
        }
        $http = ['method' => $method, 'header' => $headers, 'content' => $body, 'protocol_version' => 1.1,
            'timeout' => $this->timeout, 'ignore_errors' => true, 'follow_location' => 0];
        $url = $this->address->origin() . $target;
        error_clear_last();
        $stream = @fopen($url, 'r', false, stream_context_create(['http' => $http, 'ssl' => $this->ssl]));
        $why = error_get_last()['message'] ?? 'no reason given';
        if ($stream === false) {
            throw new ConnectException("no answer from {$this->address->origin()}: $why");
        }
        $text = (string) stream_get_contents($stream);
        $meta = stream_get_meta_data($stream);
        fclose($stream);
        if ($meta['timed_out']) {
            throw new TimeoutException("no whole answer within {$this->timeout} seconds");
        }
        return [self::status($meta['wrapper_data'] ?? []), $text];
    }

    /**
     * @param array<int, string> $lines of the head; a 100 may come before the answer's own
     * @throws ProtocolException
     */
    private static function status(array $lines): int
    {
        $status = 0;
        foreach ($lines as $line) {
            if (preg_match('#^HTTP/1\.[01] (\d{3})#', $line, $found) === 1) {
                $status = (int) $found[1];
            }
        }
        if ($status === 0) {
            throw new ProtocolException('the server sent no HTTP answer');
        }
        return $status;
    }
}
