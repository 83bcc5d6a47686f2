"""Figures as text: what both pages need to make tables of results."""

from peers import TITLES


def figure(value, unit=""):
    """Three digits that mean something, thousands apart."""
    if value is None:
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 or size == 0 else 3
    return f"{value:,.{digits}f}{' ' + unit if unit else ''}"


def spread(values):
    """The median is beside it: the least and the greatest round."""
    if not values:
        return "–"
    return f"{figure(min(values))}–{figure(max(values))}" if min(values) < max(values) else "once"


def table(header, rows, right=()):
    """Markdown; the columns `right` are figures."""
    line = "|" + "|".join("---:" if column in right else "---" for column in range(len(header))) + "|"
    body = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(header) + " |", line, *body])


def machine(about):
    m = about["machine"]
    return (
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['kernel']}, {m['rust']}; "
        f"load average at the start {', '.join(map(str, m['load_average']))}"
    )


def versions(about):
    there = [(TITLES[peer], version) for peer, version in about["versions"].items() if peer not in about["absent"]]
    gone = [(TITLES[peer], f"**absent**: {reason}") for peer, reason in about["absent"].items()]
    return table(["Server", "Version"], there + gone)


def commands(about):
    return "\n".join(f"# {name}\n{command}" for name, command in about["commands"].items())


def failures(results):
    lines = sorted(set(results.failures()))
    return "\n".join(f"- {line}" for line in lines) if lines else "None."
