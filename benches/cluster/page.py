"""The page: what was measured, and what follows from it for a million clients."""

import re
from pathlib import Path

CAPACITY = Path(__file__).resolve().parents[1] / "results/capacity.md"
# How full a core is to be planned.
FULL = 0.7
CLIENTS = 1_000_000
# Seconds that Redis keeps what is sent to clients that may resume, with the default settings.
KEPT = 180
# Broadcasts a second to all clients, and feedback a second, of each case.
CASES = ((1, 10_000), (10, 10_000), (1, 100_000))

HEAD = """# Several processes: figures

Made by `make bench-cluster` on {date}, at commit {commit}. It took {took} minutes. Machine: {machine}; {redis}; load average at the
start {load}. The main figures stand in [benchmarks](../../docs/benchmarks.md). How several processes work together is told in
[several processes](../../docs/cluster.md).

Server, Redis and load share the cores over the loopback interface. So more processes than cores are slower here, not faster. The CPU for
each message is the figure to look at. Each figure is the median of {rounds} rounds of {seconds} s. Texts have 20 bytes. "0 processes" is
one without `--backplane`. Raw results: [cluster.json](cluster.json).

"""

FEEDBACK = """## Feedback

20 backends send to 200 browsers on a shared port (`load {load}`). Each sends its next message when the last one has
come. Of N processes one in N messages stays in its process, if the browser does not [resume](../../docs/resume.md). Messages for browsers
that resume always go to Redis, which keeps them.

"""

BROADCAST = """## Broadcast

100 a second to 500 browsers, spread over the processes (`load {load}`). A message is one broadcast here,
not one delivered frame. At this rate Redis wakes for nearly each message. At higher rates each one costs less.

"""

CLAIMS = """## Coming back

{pages} pages whose connection broke come back one after the other, to either of two processes. Each has missed {missed} messages of
{text_bytes} bytes.

| For each page | Figure |
|---|---:|
| from the connect to the last missed message, p50 | {p50_ms:.1f} ms |
| the same, p99 | {p99_ms:.1f} ms |
| Redis' CPU | {redis_us:.0f} µs |
| to store one message: Redis' CPU | {stored_us:.1f} µs |
| to store one message: Redis' memory | {stored_bytes:.0f} bytes |

## Idle clients

| Client | Redis' memory each, bytes | Redis' CPU each, µs a second | phpws' CPU each, µs a second | to Redis each, bytes a second |
|---|---:|---:|---:|---:|
"""

MODEL = """## Calculated: a million clients

Nothing below was measured as a whole. The values follow from these inputs, by the formulas beside them.

|  | Input | Value | From |
|---|---|---:|---|
"""

LIMITS = """
### Where it ends, and what then

{limits}

What to do beyond that:

- **Several servers, each with its own Redis.** It fits where the pages form groups that have nothing to say to each other: customers,
  shops, groups of rooms. It works today. Each server has its own `--backplane`, and its own host name or path at the load balancer.
  Everything above divides by their number.
- **Resume only for pages that need it.** Redis keeps nothing of the others, and their feedback stays in its process where it can.
- **A longer time between two renewals** (`RENEWAL_BEATS`). The cost of idle clients falls in proportion. It must stay below a minute,
  because the keys outlive `resume-time` by a minute.
- **[Sharded pub/sub](https://redis.io/docs/latest/develop/pubsub/#sharded-pubsub) of Redis 7**, and keys by uuid in a Redis Cluster.
  Feedback would divide by the shards; broadcasts do not need it. It is not built: today's scripts need all keys on one server.
- **Copies of Redis do not help**: publishing and all scripts write.
"""


def text(results):
    about, cells = results["about"], results["cells"]
    parts = [HEAD.format(took=f"{about.get('took_seconds', 0) / 60:.1f}", **{key: about[key] for key in HEAD_KEYS})]
    for kind, intro in (("feedback", FEEDBACK), ("broadcast", BROADCAST)):
        parts.append(intro.format(load=next(cell["load"] for cell in cells if cell["scenario"] == kind)))
        parts.append(table([cell for cell in cells if cell["scenario"].startswith(kind)]))
    parts.append(CLAIMS.format(**results["claims"]))
    for name, client in results["clients"].items():
        figures = ("redis_bytes", "redis_us_per_second", "phpws_us_per_second", "redis_in_per_second")
        parts.append("| " + " | ".join([name, *(number(client[figure]) for figure in figures)]) + " |\n")
    parts.append("\n" + model(results))
    return "".join(parts)


HEAD_KEYS = ("date", "commit", "machine", "redis", "load", "rounds", "seconds")
COLUMNS = (
    ("messages/s", "per_second"),
    ("p50 µs", "p50_us"),
    ("p99 µs", "p99_us"),
    ("phpws CPU %", "phpws_percent"),
    ("Redis CPU %", "redis_percent"),
    ("phpws µs each", "phpws_us"),
    ("Redis µs each", "redis_us"),
    ("to Redis, bytes each", "redis_in"),
    ("from Redis, bytes each", "redis_out"),
)


def table(cells):
    lines = ["| Browsers | Processes | " + " | ".join(title for title, _ in COLUMNS) + " |", "|---|---:|" + "---:|" * len(COLUMNS)]
    for cell in cells:
        kind = "that resume" if "resuming" in cell["scenario"] else "plain"
        # Without Redis there is nothing to say of it.
        figures = ["–" if not cell["processes"] and "redis" in key else number(cell[key]) for _, key in COLUMNS]
        lines.append("| " + " | ".join([kind, str(cell["processes"]), *figures]) + " |")
    return "\n".join(lines) + "\n\n"


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def inputs(results):
    """Name: (what, value, unit, source). Memory and the CPU of a delivered frame are of the page on capacity."""
    cells = {(cell["scenario"], cell["processes"]): cell for cell in results["cells"]}
    most = max(count for _, count in cells)
    feedback, plain = cells["feedback, resuming", most], cells["feedback", most]
    here = f"this page, {most} processes"
    points = [(count, cells["broadcast, resuming", count]) for _, count in cells if count and ("broadcast, resuming", count) in cells]
    points = sorted({count: cell for count, cell in points}.items())
    a, b = line([(count, cell["redis_us"]) for count, cell in points])
    _, out = line([(count, cell["redis_out"]) for count, cell in points])
    resuming, idle = results["clients"]["resuming"], results["clients"]["plain"]
    claims = results["claims"]
    return {
        "u": ("user memory of an idle client", capacity("u"), "bytes", "[capacity](capacity.md#calculated)"),
        "k": ("kernel memory of its connection", capacity("k"), "bytes", "[capacity](capacity.md#calculated)"),
        "d": ("CPU of one delivered frame of a broadcast", capacity("d"), "µs", "[capacity](capacity.md#calculated)"),
        "m": ("Redis' memory for a client that resumes", resuming["redis_bytes"], "bytes", "this page"),
        "w": ("Redis' CPU for one, a second", resuming["redis_us_per_second"], "µs", "this page"),
        "w_p": ("the same, plain client", idle["redis_us_per_second"], "µs", "this page"),
        "a": ("Redis' CPU of a broadcast", max(a, 0), "µs", "this page, line through the processes"),
        "b": ("and for each process", max(b, 0), "µs", "the same"),
        "o": ("bytes from Redis of a broadcast for each process", out, "bytes", "the same"),
        "g": ("Redis' CPU of a feedback that is kept", feedback["redis_us"], "µs", here),
        "g_p": ("of one that crosses processes and is not kept", plain["redis_us"] / plain["scripts"], "µs", here),
        "p": ("phpws' CPU of a feedback, both processes", feedback["phpws_us"], "µs", here),
        "i": ("bytes to and from Redis of a feedback", feedback["redis_in"] + feedback["redis_out"], "bytes", here),
        "s": ("Redis' memory for a message that it keeps", claims["stored_bytes"], "bytes", "this page, 100 bytes of text"),
        "c": ("Redis' CPU of a page that comes back", claims["redis_us"], "µs", f"this page, {claims['missed']} messages missed"),
        "f": ("how full a core is to be planned", FULL, "", "chosen"),
    }


def capacity(symbol):
    row = re.search(rf"^\| {symbol} \| [^|]* \| ([\d,.]+)", CAPACITY.read_text(), re.M)
    return float(row[1].replace(",", ""))


def line(points):
    """Least squares: y = a + b x."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    b = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y - b * mean_x, b


def model(results):
    given = inputs(results)
    values = {name: value for name, (_, value, _, _) in given.items()}
    rows = [f"| {name} | {what} | {number(value)} {unit} | {source} |".replace("  ", " ") for name, (what, value, unit, source) in given.items()]
    return MODEL + "\n".join(rows) + "\n\n" + cases(values) + LIMITS.format(limits=limits(values))


def cases(v):
    """One column for each pair of rates; all clients resume."""
    columns = [case(v, broadcasts, feedback) for broadcasts, feedback in CASES]
    titles = [f"{b:,} broadcast{'s' * (b > 1)} and {f:,} feedback a second" for b, f in CASES]
    lines = ["N = 1,000,000 clients that resume; B broadcasts to all and F feedback a second; P processes.", ""]
    lines += ["|  | Formula | " + " | ".join(titles) + " |", "|---|---|" + "---:|" * len(CASES)]
    for (name, formula, _), *figures in zip(*columns):
        lines.append(f"| {name} | {formula} | {figure_of(columns, name)} |")
    return "\n".join(lines) + "\n"


def figure_of(columns, name):
    return " | ".join(next(shown for row, _, shown in column if row == name) for column in columns)


def case(v, broadcasts, feedback):
    processes = (CLIENTS * broadcasts * v["d"] + feedback * v["p"]) / FULL / 1e6
    processes = max(1, int(processes) + 1)
    renew, cast, tell = CLIENTS * v["w"] / 1e6, broadcasts * (v["a"] + v["b"] * processes) / 1e6, feedback * v["g"] / 1e6
    bandwidth = (broadcasts * v["o"] * processes + feedback * v["i"]) / 1e6
    return [
        ("processes, P", "(N·B·d + F·p) / f / 10⁶", f"{processes:,}"),
        ("their memory, with the kernel's", "N·(u + k)", f"{CLIENTS * (v['u'] + v['k']) / 2**30:.1f} GiB"),
        ("Redis' memory, clients", "N·m", f"{CLIENTS * v['m'] / 2**30:.2f} GiB"),
        ("and messages, at the most", f"F·{KEPT}·s", f"{feedback * KEPT * v['s'] / 2**30:.2f} GiB"),
        ("Redis' cores for idle clients", "N·w / 10⁶", f"{renew:.2f}"),
        ("for broadcasts", "B·(a + b·P) / 10⁶", f"{cast:.3f}"),
        ("for feedback", "F·g / 10⁶", f"{tell:.2f}"),
        ("together", "", f"**{renew + cast + tell:.2f}**"),
        ("servers with a Redis of their own", "together / f", f"{int((renew + cast + tell) / FULL) + 1}"),
        ("bandwidth of Redis", "B·o·P + F·i", f"{bandwidth:,.1f} MB/s"),
    ]


def limits(v):
    second = FULL * 1e6
    return "\n".join(
        f"- {line}"
        for line in (
            f"**Clients**: renewing keys fills one Redis, planned to {FULL:.0%} of its one core, at f·10⁶ / w = {second / v['w']:,.0f} clients that resume. "
            f"Of plain ones it takes {second / v['w_p']:,.0f}. It has then nothing else to do.",
            f"**Feedback**: f·10⁶ / g = {second / v['g']:,.0f} a second to pages that resume, {second / v['g_p']:,.0f} to others. This is the first limit of a busy server.",
            f"**Broadcast**: with 100 processes f·10⁶ / (a + 100·b) = {second / (v['a'] + 100 * v['b']):,.0f} a second. Long before that the processes are busy: "
            f"each delivers f·10⁶ / d = {second / v['d']:,.0f} frames a second.",
            f"**Coming back**: f·10⁶ / c = {second / v['c']:,.0f} pages a second. Let `--drain-time` of a process with n pages be at least n·c / f / 10⁶ seconds: "
            f"{50_000 * v['c'] / second:.0f} for 50,000.",
            f"**Bandwidth** is not it: a link of 1 Gbit/s carries {1e9 / 8 / v['i']:,.0f} feedback a second.",
        )
    )
