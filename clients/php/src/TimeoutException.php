<?php

declare(strict_types=1);

namespace Phpws;

/**
 * The server was silent for longer than the option `timeout`.
 *
 * After a send the packet stays with the client: it has been written and may still be acknowledged.
 * Do not send it again; see `Client::unacknowledged()`.
 */
final class TimeoutException extends Exception
{
}
