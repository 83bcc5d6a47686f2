<?php

declare(strict_types=1);

namespace Phpws;

/** Base of everything this package throws: catch it to catch all. */
class Exception extends \RuntimeException
{
}
