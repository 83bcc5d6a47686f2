<?php

/*
 * Lets PHP's built-in web server show the pages of clients/web and run the backends of this folder:
 *
 *     PHP_CLI_SERVER_WORKERS=8 php -S 127.0.0.1:8080 -t clients/web clients/php/demo/router.php
 *
 * A real web server has the backends in its own document root, and needs no such file.
 */

declare(strict_types=1);

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/') {
    header('Location: /demo/', true, 302);
    return true;
}
if (preg_match('~^/backend/(settings|emas|rvk|wlbriserva)\.php$~', (string) $path, $found) === 1) {
    require __DIR__ . "/$found[1].php";
    return true;
}
return false;
