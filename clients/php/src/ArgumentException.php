<?php

declare(strict_types=1);

namespace Phpws;

/** The caller passed something unusable; nothing was sent, and the connection is as it was. */
final class ArgumentException extends Exception
{
}
