<?php

/*
 * What the three backends share: reading a request, answering it, the WebSocket server, a database.
 * None of them opens a PHP session, so no page waits for another's lock; one that needs a session
 * reads it and calls session_write_close() before it begins to work.
 *
 *   PHPWS_ADDRESS         the WebSocket server, default ws://127.0.0.1:8095
 *   PHPWS_PUBLIC_ADDRESS  the same as pages see it, default: its port on their own host
 *   PHPWS_DEMO_DATA       folder of the databases, default: one in the system's temporary folder
 *   PHPWS_DEMO_PAUSE      milliseconds that a step of pretended work takes, default 400
 */

declare(strict_types=1);

namespace Phpws\Demo;

use Phpws\Client;
use Phpws\Exception;
use SQLite3;

require_once __DIR__ . '/../src/autoload.php';

/** A request that is answered with an error, in words for the person at the page. */
final class Refusal extends \RuntimeException
{
    public function __construct(public readonly int $status, string $message)
    {
        parent::__construct($message);
    }
}

/**
 * Runs a backend and answers with what it returns.
 *
 * @param callable(): array<string, mixed> $work
 */
function answer(callable $work): void
{
    try {
        [$status, $answer] = [200, $work()];
    } catch (Refusal $e) {
        [$status, $answer] = [$e->status, ['error' => $e->getMessage()]];
    } catch (Exception $e) {
        // Whoever asks need not know the address that stands in the message.
        error_log('backend: ' . $e->getMessage());
        [$status, $answer] = [502, ['error' => 'The WebSocket server cannot be reached.']];
    } catch (\Throwable $e) {
        error_log('backend: ' . $e);
        [$status, $answer] = [500, ['error' => 'The backend failed; its log says why.']];
    }
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    echo json_encode($answer, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR);
}

/**
 * The JSON object that a page posted, with its uuid. Other sites' forms cannot send this type.
 *
 * @return array<string, mixed>
 */
function posted(): array
{
    if (!str_starts_with($_SERVER['CONTENT_TYPE'] ?? '', 'application/json')) {
        throw new Refusal(415, 'Send application/json.');
    }
    $body = json_decode((string) file_get_contents('php://input', false, null, 0, 10_000), true);
    if (!is_array($body) || preg_match('/^[0-9a-f-]{36}$/', text($body, 'uuid')) !== 1) {
        throw new Refusal(400, 'A JSON object with the uuid of the page is wanted.');
    }
    return $body;
}

/** @param array<string, mixed> $values */
function text(array $values, string $key): string
{
    return is_string($values[$key] ?? null) ? $values[$key] : '';
}

/** @param array<string, mixed> $options */
function connect(string $resource, array $options = []): Client
{
    return new Client((getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095') . $resource, $options);
}

/** Opens a database and makes its tables, if they are not there yet. */
function database(string $name, string $schema): SQLite3
{
    $folder = getenv('PHPWS_DEMO_DATA') ?: sys_get_temp_dir() . '/phpws-demo';
    if (!is_dir($folder)) {
        @mkdir($folder, 0700); // another request may have been quicker
    }
    $database = new SQLite3("$folder/$name.sqlite");
    $database->enableExceptions(true);
    $database->busyTimeout(5000);
    $database->exec($schema);
    return $database;
}

/** Stands for work that takes a while. */
function pause(float $share = 1.0): void
{
    usleep((int) ($share * 1000 * (float) (getenv('PHPWS_DEMO_PAUSE') ?: 400)));
}
