<?php

declare(strict_types=1);

namespace Phpws;

/** No connection came about: name, port, network or TLS. The server has seen no request. */
final class ConnectException extends Exception
{
}
