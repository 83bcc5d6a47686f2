"""Runs what the pages show; called by the script `run` beside it, in namespaces of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import rules
from blocks import blocks_of, commands_of
from page import Page
from sandbox import Failure, Sandbox, call

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_UUID = "e7369655-7143-43dd-a710-75937c023233"
WHOLE_RUN = 400  # seconds
PHP = ["php", "-d", "error_reporting=-1", "-d", "display_errors=stderr", "-d", "log_errors=0"]


class Run:
    def __init__(self, box):
        self.box, self.counts, self.not_run, self.failures, self.used = box, Counter(), [], 0, set()

    def page(self, name):
        blocks = blocks_of(name, (ROOT / name).read_text())
        if not blocks:
            return
        start, before = time.monotonic(), self.counts.copy()
        self.box.forget()
        for command in rules.BEFORE_PAGE.get(name, []):
            self.box.run(command)
        self.php = list(rules.PHP.get(name, []))
        for at, block in enumerate(blocks):
            following = blocks[at + 1] if at + 1 < len(blocks) else None
            self.block(block, following)
        if self.php:
            self.fail(name, f"{len(self.php)} rules for PHP too many in rules.py")
        done = self.counts - before
        print(f"{name}: {', '.join(f'{count} {what}' for what, count in sorted(done.items()))}, {time.monotonic() - start:.1f} s", flush=True)

    def block(self, block, following):
        kind, self.base = block.kind, None
        try:
            if kind in rules.ELSEWHERE:
                self.counts["elsewhere"] += 1
            elif kind in rules.SHOWN:
                self.skip(block.place, f"{kind} block", rules.SHOWN[kind])
            elif (check := getattr(self, f"check_{kind}", None)) is None:
                raise Failure(f"nobody knows what to do with a block of the kind {kind}")
            else:
                check(block, following)
            self.box.end()
        except (Failure, subprocess.TimeoutExpired, OSError, ValueError) as error:
            self.fail(block.place, error)
            self.box.end()

    def fail(self, place, error):
        self.failures += 1
        print(f"FAILED  {place}: {error}", flush=True)

    def skip(self, place, what, reason):
        self.counts["not run"] += 1
        self.not_run.append((place, what, reason))

    # ---- shell

    def check_sh(self, block, following):
        commands = commands_of(block.text)
        for at, (command, remark) in enumerate(commands):
            rule = next((rule for rule in rules.NOT_RUN if re.search(rule[0], command)), None)
            if rule:
                self.used.add(rule[0])
                self.skip(block.place, command, rule[1])
                continue
            for pattern, before in rules.BEFORE_COMMAND:
                if re.search(pattern, command):
                    self.box.run(before)
            try:
                if is_server(command):
                    self.box.serve(command)
                else:
                    answer = following if at + 1 == len(commands) else None
                    self.command(command, remark, answer)
            except (Failure, subprocess.TimeoutExpired) as error:
                raise Failure(f"{command}\n        {error}") from None
            self.counts["run"] += 1

    def command(self, command, remark, following):
        page = None
        if re.search(r"curl|phpws (publish|status)|/load ", command):
            self.somebody_to_talk_to("wss" if "wss:" in command else "ws")
        if re.search(rf"\$\{{?uuid|\$UUID|{EXAMPLE_UUID}", command):
            page = Page()
            command = command.replace(EXAMPLE_UUID, page.uuid)
        uuid = {"uuid": page.uuid, "UUID": page.uuid} if page else None
        said = self.box.run(command, uuid)
        if remark.startswith("{") and said.strip() != remark:
            raise Failure(f"it printed {said.strip()}, and not {remark}")
        if following and following.kind == "json" and command.startswith("curl"):
            like(json.loads(said), json.loads(following.text))
        if page:
            page.next()  # somebody got it
            page.close()

    def somebody_to_talk_to(self, scheme):
        """A server with this scheme, unless the block has started one itself."""
        if self.box.servers and self.base in (None, scheme):
            return
        pair = "--cert target/tls/cert.pem --key target/tls/key.pem" if scheme == "wss" else ""
        self.box.serve(f"phpws {scheme}://127.0.0.1:8095 {pair}")
        self.base = scheme

    # ---- PHP

    def check_php(self, block, _following):
        if not self.php:
            raise Failure("rules.py does not say how to run this block")
        rule = self.php.pop(0)
        code = block.text if block.text.startswith("<?php") else "<?php\n" + block.text
        script = self.box.changes / "block.php"
        script.write_text(code)
        php("-l", script)
        if "lint" in rule:
            self.counts["parsed only"] += 1
            self.not_run.append((block.place, "PHP, parsed only", rule["lint"]))
        elif "web" in rule:
            script.write_text(f"<?php chdir('{ROOT}'); {rule['web']} ?>{code}")
            self.notices(script)
        else:
            # In a file of its own, as a namespace can only be the first word of one.
            before = self.box.changes / "before.php"
            before.write_text(f"<?php {rule.get('before', '')}")
            script.write_text(f"{code}\n{rule.get('after', '')}")
            self.script(script, before, rule)
        self.counts["run"] += 1

    def script(self, script, before, rule):
        self.box.serve("phpws ws://127.0.0.1:8095")
        page = Page()
        if "joins" in rule:
            page.say(json.dumps({"opcode": "join", "room": rule["joins"]}))
            page.until('"opcode":"joined"')
        said = php("-d", f"auto_prepend_file={before}", script, env={"uuid": page.uuid, "secret": "x"})
        for part in rule.get("hears", []):
            page.until(part)
        if rule.get("prints", "") not in said:
            raise Failure(f"it printed {said!r}, without {rule['prints']}")

    def notices(self, script):
        secret = "PHPWS_NOTIFY_SECRET=a-secret-of-the-tests"
        # PHP's web server answers a request of ours with an error, but it answers.
        self.box.serve(f"{secret} {' '.join(PHP)} -S 127.0.0.1:8001 '{script}'")
        self.box.serve(f"{secret} phpws ws://127.0.0.1:8095 --notify-url http://127.0.0.1:8001/")
        page = Page()
        metrics = "curl -s http://127.0.0.1:8095/metrics"
        for _ in range(100):
            if re.search(r"^phpws_notices_sent_total [1-9]", self.box.run(metrics), re.M):
                return page.close()
            time.sleep(0.1)
        raise Failure("the page does not take the notices")

    # ---- what programs read

    def check_ini(self, block, _following):
        file = self.box.changes / "block.ini"
        file.write_text(block.text)
        if re.search(r"^\[(websocketserver|jsauth)\]", block.text, re.M):
            said = self.box.run(f"mkdir -p /var/log/phpws && phpws --config {file} --check")
            if "settings are fine" not in said:
                raise Failure(said)
        else:
            for name, value in re.findall(r"^([a-z._]+) = \"(.*)\"$", block.text, re.M):
                said = php("-n", "-c", file, "-r", f"echo ini_get('{name}');")
                if said != value:
                    raise Failure(f"PHP reads {said!r} for {name}")
        self.counts["run"] += 1

    def check_json(self, block, _following):
        json.loads(block.text)
        self.counts["run"] += 1

    def check_yaml(self, block, _following):
        code = "import sys, yaml; print(yaml.safe_load(sys.stdin)['scrape_configs'][0]['static_configs'][0]['targets'][0])"
        done = subprocess.run(["/usr/bin/python3", "-c", code], input=block.text, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(done.stderr)
        self.box.serve("phpws ws://127.0.0.1:8095")
        self.box.run(f"curl -fsS http://{done.stdout.strip()}/metrics | grep phpws_clients")
        self.counts["run"] += 1

    def check_toml(self, block, _following):
        """A crate beside the project, with these dependencies; cargo finds all of them."""
        link = self.box.changes / "home/phpws"
        crate = self.box.changes / "home/crate"
        (crate / "src").mkdir(parents=True)
        link.symlink_to(ROOT)
        (crate / "src/main.rs").write_text("fn main() {}\n")
        (crate / "Cargo.toml").write_text('[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2024"\n' + block.text)
        # What other platforms need is not on this machine.
        ours = "--filter-platform $(rustc -vV | sed -n 's/^host: //p')"
        self.box.run(f"cp Cargo.lock {crate} && cargo metadata --offline {ours} --format-version 1 --manifest-path {crate}/Cargo.toml")
        self.counts["run"] += 1

    def check_js(self, block, _following):
        """Its syntax; that it works in a browser is for tests/browser/docs.test.mjs."""
        file = self.box.changes / "block.mjs"
        file.write_text(block.text)
        self.box.run(f"node --check {file}")
        self.counts["elsewhere"] += 1

    def check_html(self, block, following):
        for text in re.findall(r"<script[^>]*>(.*?)</script>", block.text, re.S):
            self.check_js(type(block)(block.page, block.line, "js", text), following)

    def check_http(self, block, _following):
        """A request is sent; the block behind it is the answer, letter for letter."""
        if block.text.startswith("HTTP/"):
            expected, said = block.text, self.said
        else:
            self.box.serve("phpws ws://127.0.0.1:8095")
            with socket.create_connection(("127.0.0.1", 8095), 5) as stream:
                stream.sendall((block.text + "\n").replace("\n", "\r\n").encode())
                said = b""
                while b"\r\n\r\n" not in said:
                    said += stream.recv(4096)
            self.said = said.split(b"\r\n\r\n")[0].decode().replace("\r\n", "\n") + "\n"
            expected = said = ""
        if said != expected:
            raise Failure(f"the server answered {said!r}")
        self.counts["run"] += 1

    # ---- dialogs

    def check_dialog(self, block, _following):
        for part, reason in rules.DIALOGS_NOT_RUN:
            if part in block.text:
                self.used.add(part)
                return self.skip(block.place, "dialog", reason)
        scene = next((scene for part, scene in rules.DIALOGS if part in block.text), {})
        self.box.serve(f"phpws ws://127.0.0.1:8095 {scene.get('options', '')}")
        headers = scene.get("headers", "")
        text = block.text if headers else block.text.replace("192.0.2.7", "127.0.0.1")
        other = None
        if "other" in scene:
            other = Page(headers=headers)
            text = text.replace(rules.OTHER, other.uuid)
            for said in scene["other"]:
                other.say(said)
                other.until('"opcode":"joined"')
        speaker = Raw() if scene.get("raw") else Page(scene.get("resource", "/web"), headers)
        # What the server says first belongs to the dialog if it begins with that.
        first = text.startswith("< ")
        for number, line in enumerate(text.splitlines()):
            if line.startswith("> "):
                speaker.say(line[2:])
            else:
                heard = speaker.ready if first and number == 0 else speaker.next()
                same(heard, line[2:])
        if other and "order 4711" not in text and "half done" in text and '"status":404' not in text:
            other.until("half done")
        self.counts["run"] += 1


class Raw:
    """The oldest backends: no frames, one answer for each read."""

    def __init__(self):
        self.stream = socket.create_connection(("127.0.0.1", 8095), 5)
        self.stream.sendall(b"php process\nGET /php HTTP/1.1\n")
        self.ready = self.next()

    def say(self, text):
        self.stream.sendall(text.encode())

    def next(self):
        return self.stream.recv(256).decode()


def is_server(command):
    name = re.sub(r"^(\w+=\S+ )*(taskset -c \d )?", "", command)
    if re.search(r"phpws (publish|status)\b|--check|--man|--completions", name):
        return False
    return re.match(r"make (run|run-tls|demo|cluster)\b|redis-server\b|(target/release/)?phpws\b|cargo run\b|php .*-S |target/release/examples/echo", name)


def php(*args, env=None):
    done = subprocess.run([*PHP, *map(str, args)], env={**os.environ, **(env or {})}, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or done.stderr:
        raise Failure(f"PHP ends with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def same(heard, expected):
    """The same JSON, but for uuids and what an application says in `next`."""
    if heard is None:
        raise Failure(f"the connection ended before {expected}")
    here, there = json.loads(heard), json.loads(expected)
    for name in ["uuid"] + ["fyi"] * (there.get("opcode") == "next"):
        if name in here and name in there:
            here[name] = there[name]
    if here != there:
        raise Failure(f"the server said {heard}, and not {expected}")


def like(said, shown):
    """The same members with values of the same type."""
    if {name: type(value) for name, value in said.items()} != {name: type(value) for name, value in shown.items()}:
        raise Failure(f"it printed {said}, which is not like {shown}")


def ended(number, _frame):
    # The first process of its table: without this it would not hear a signal, and with it all others end.
    print(f"tests/docs/run: ended by {signal.Signals(number).name}; it has {WHOLE_RUN} s", file=sys.stderr, flush=True)
    os._exit(1)


def main():
    pages = sys.argv[1:] or subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for number in [signal.SIGALRM, signal.SIGTERM, signal.SIGINT]:
        signal.signal(number, ended)
    signal.alarm(WHOLE_RUN)
    folder = Path(tempfile.mkdtemp(prefix="phpws-docs-"))
    try:
        run = Run(Sandbox(ROOT, folder))
        for page in sorted(page for page in pages if not page.endswith(".template.md")):
            run.page(page)
    finally:
        call("umount", "-l", str(folder))
        folder.rmdir()
    print("\nNot run here:")
    for reason in dict.fromkeys(reason for _, _, reason in run.not_run):
        print(f"  {reason}:")
        for place, what, _ in (it for it in run.not_run if it[2] == reason):
            print(f"      {place}: {what}")
    print("\nRead or run by another test:")
    for kind, reason in {**rules.ELSEWHERE, "js, html": "make browser: tests/browser/docs.test.mjs; here their syntax"}.items():
        print(f"  {kind}: {reason}")
    if not sys.argv[1:]:
        for rule in [rule[0] for rule in rules.NOT_RUN] + [rule[0] for rule in rules.DIALOGS_NOT_RUN]:
            if rule not in run.used:
                run.fail("rules.py", f"no page has {rule} any more")
    total = run.counts
    print(f"\n{total['run']} passed, {run.failures} failed, {total['not run'] + total['parsed only']} skipped")
    sys.exit(1 if run.failures else 0)


if __name__ == "__main__":
    main()
