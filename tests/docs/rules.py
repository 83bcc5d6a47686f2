"""What the pages cannot say of their blocks: what must be there before, and what cannot run here, with the reason."""

import hmac

# ---- what is not run

# A command of shell, searched for by this pattern.
NOT_RUN = [
    (r"^apt-get install|^apt install", "it would change the machine; .ci/run installs the same packages by name"),
    (r"^cargo install", "it needs the network; .ci/run does it"),
    (r"^make (test|deb)$", "a step of .ci/run of its own"),
    (r"^docker ", "there is no Docker daemon; hadolint reads the Dockerfile: make packaging"),
    (r"^cargo doc .*--open", "it opens a browser; make check builds the same pages"),
    (r"benches/peers|CHECKOUT/", "servers to compare with, which make bench builds and starts"),
    (r"^make (bench|microbench)", "it needs minutes of a quiet machine"),
    (r"^fuzz/run|^SANITIZER=", "it takes minutes; make fuzz is a step of .ci/run of its own"),
]

# Kinds of blocks that another test reads, runs or serves.
ELSEWHERE = {
    "rust": "tests/all/docs/: each block stands in an example, which is compiled",
    "log": "tests/all/docs/: each line stands in the sources",
    "nginx": "make proxies: in front of a server",
    "nginx-stream": "make proxies: in front of a server",
    "apache": "make proxies: in front of a server",
    "caddy": "make proxies: in front of a server",
}

# Kinds that show something and command nothing.
SHOWN = {
    "text": "a drawing, or what a command printed on another day",
}

# Dialogs, by what they contain.
DIALOGS_NOT_RUN = [
    ('"count":340', "it needs 340 clients that come in one turn; cargo test --test all rooms:: has a thousand"),
]

# ---- shell

# Before the first command of a page: the user and the folders that it tells of or that the package brings.
USER = "install -D -m 644 packaging/phpws.sysusers /etc/sysusers.d/phpws.conf && systemd-sysusers && mkdir -p /etc/phpws"
UNIT = "install -m 755 target/release/phpws /usr/bin/phpws && install -m 644 packaging/phpws.service /etc/systemd/system/"
CERTIFICATE = "rm -rf target/tls && make cert"
BEFORE_PAGE = {
    "docs/migration.md": [
        # The file of the original, which the page shows.
        "mkdir -p config /var/log/phpws && awk '/^```ini/{p=1;next} /^```/{p=0} p' docs/migration.md > config/config.ini",
    ],
    "benches/results/benchmarks.md": [CERTIFICATE],
    "docs/deployment.md": [
        USER, UNIT, CERTIFICATE,
        "install -D -m 644 packaging/phpws.ini /etc/phpws/phpws.ini",
        "cp target/tls/cert.pem fullchain.pem && cp target/tls/key.pem privkey.pem",
        "mkdir -p /usr/local/share/man/man8 /etc/bash_completion.d /usr/local/share/zsh/site-functions ~/.config/fish/completions",
    ],
    "docs/operations.md": [
        USER, UNIT, CERTIFICATE,
        "cp target/tls/cert.pem cert.pem && cp target/tls/key.pem key.pem",
        # What Let's Encrypt's client says to its hooks.
        "mkdir -p live && cp cert.pem live/fullchain.pem && cp key.pem live/privkey.pem && export RENEWED_LINEAGE=$PWD/live",
        # The example of a configuration file, which stands further down the page.
        "awk '/^```ini/{p=1;next} /^```/{p=0} p' docs/operations.md > /etc/phpws/config.ini && mkdir -p /var/log/phpws",
    ],
    "docs/publish.md": [USER],
    "docs/sessions.md": [USER, "mkdir -p /var/lib/phpws-sessions"],
    "docs/notices.md": ["mkdir -p /var/lib/shop"],
    "clients/php/README.md": ["mkdir -p /var/lib/shop"],
}
# Before one command: a branch is made in a copy, not in the repository of whoever runs this.
BEFORE_COMMAND = [
    (r"^git branch", 'git clone -q . "$HOME/checkout" && cd "$HOME/checkout" && git config user.name x && git config user.email x@localhost'),
]

# ---- PHP

# Each block of PHP on a page, in order. `before` is put in front of it; `hears` is what the page with the uuid must get, `joins` a room that it is in,
# `prints` what the script must print. A block of the kind `web` is a page that phpws sends its notices to. One of the kind
# `lint` is parsed only, for the reason given.
USER_7 = hmac.new(b"x", b"7", "sha256").hexdigest()
CLIENT = "require 'clients/php/src/autoload.php'; $uuid = getenv('uuid');"
PHP = {
    "README.md": [
        {"before": "$_POST['uuid'] = getenv('uuid');", "hears": ['"progress":50', "the list has changed"]},
    ],
    "docs/embedding.md": [{"lint": "it extends a class of the original"}],
    "docs/migration.md": [
        {"lint": "it needs ZeroMQ"},
        {"before": CLIENT, "joins": "orders", "hears": ['"title":"order 4711 is paid"']},
        {"before": CLIENT + "$userId = 7; $secret = 'x';", "joins": "user " + USER_7, "hears": ["your order is on its way"]},
        {
            "before": CLIENT + "require '/usr/share/php/Illuminate/Broadcasting/autoload.php';",
            "after": "$it = new PhpwsBroadcaster(new Publisher('http://127.0.0.1:8095'));"
            "try { $it->broadcast(['private-orders'], 'Shipped'); } catch (BroadcastException $e) { echo 'refused'; }"
            "$it->broadcast(['orders'], 'OrderShipped', ['id' => 4711]);",
            "joins": "orders",
            "hears": ['"event":"OrderShipped","data":{"id":4711}'],
            "prints": "refused",
        },
        {"lint": "it needs a whole Laravel; the class is run above"},
    ],
    "docs/quickstart.md": [
        {"before": "$_POST['uuid'] = getenv('uuid');", "hears": ["step 1 of 5", '"progress":100'], "prints": "done"},
    ],
    "docs/notices.md": [
        {"web": CLIENT},
        {"web": CLIENT + "$secret = getenv('PHPWS_NOTIFY_SECRET');"},
    ],
    "docs/publish.md": [
        {"before": "$uuid = getenv('uuid');", "hears": ['"message":"half done"']},
        {"before": CLIENT, "hears": ['"progress":50']},
        {"before": CLIENT, "hears": ["your order was sent"]},
    ],
    "docs/sessions.md": [
        {
            "before": "ini_set('session.save_path', '/var/lib/phpws-sessions');"
            "$password = 'secret'; $hash = password_hash('secret', PASSWORD_DEFAULT);",
            "after": "echo file_get_contents('/var/lib/phpws-sessions/sess_' . session_id());",
            "prints": "allowconnect|b:1;",
        },
    ],
    "docs/resume.md": [{"before": CLIENT}],
    "clients/php/README.md": [
        {},
        {"before": CLIENT, "hears": ["doing some work", '"progress":50', "to all browsers"]},
        {"lint": "it goes on for ever; tests/php/resume_live.php breaks the connection of one like it"},
        {"web": CLIENT},
        {"before": CLIENT, "hears": ['"progress":50']},
    ],
}

# ---- dialogs

OTHER = "8c1d38f0-a3b7-48b0-a6b5-b38efe158507"
# By what a dialog contains: options of the server, headers, what an other page says beforehand, the resource, the client.
DIALOGS = [
    ('"room":"order 4711","count":2', {"other": ['{"opcode":"join","room":"order 4711"}']}),
    ('"names":["Bob","Ann"]', {"options": "--room-names", "other": ['{"opcode":"join","room":"office","name":"Bob","announce":true}']}),
    ('"refused":"broadcast"}', {"options": "--receive-only"}),
    (OTHER, {"other": []}),
    ('< {"opcode":"close"}', {"resource": "/nobody"}),
    ("Too many connections", {"options": "--max-clients 1", "other": []}),
    ("To many connections from", {"options": "--max-per-ip 1 --trusted-proxy 127.0.0.1", "headers": "X-Forwarded-For: 192.0.2.7\r\n", "other": []}),
    ('"message":"from the back"', {"raw": True}),
]
