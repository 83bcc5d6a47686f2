#!/usr/bin/env python3
"""Can a PHP developer with school English read the pages? `tests/docs/words.py [PAGE …]`; `run` beside it calls this.

Sentences have at most 30 words, in paragraphs, lists and cells of tables. Code is one word, and blocks of code are not read.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 30
# Pages that are written for the authors of this project, or by hand elsewhere.
NOT_READ = {"docs/design.md", "docs/porting.md"}
# A word that is not to be used, and the one in its place.
WORDS = [
    (r"\bbackplanes?\b", "cluster"),
    (r"(?<![.!?] )(?<!^)\b(?:for|of|to|by|from) who\b", "name the people or the clients"),
    (r"^Who(?:ever)? [^?]*\.$", "name the people or the clients"),
    (r"^What (?!is |are |do |does )[^?]*\.$", "begin with the thing itself"),
]


def sentences(page):
    """Each sentence as (line, text), without markup; a code span is one word."""
    paragraph, first, fenced = [], 0, False
    lines = page.read_text().splitlines() + [""]
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            line = ""
        elif fenced:
            continue
        row = line.startswith("|")
        begins = re.match(r"\s*([-*]|\d+\.|#+|>) ", line)
        if row or begins or not line.strip():
            yield from ((first, it) for it in split(" ".join(paragraph)))
            paragraph = []
        if row:
            for cell in re.split(r"(?<!\\)\|", line.strip("|")):
                yield from ((number, it) for it in split(cell))
        elif line.strip() and not line.startswith("    "):
            first = first if paragraph else number
            paragraph.append(re.sub(r"^\s*([-*]|\d+\.|#+|>) ", "", line).strip())


def split(text):
    text = re.sub(r"``? ?.+? ?``?", "X", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"https?://\S+", "X", text).replace("**", "").strip()
    return [it for it in re.split(r"(?<=[.!?])[)\"”]?\s+(?=[A-Z\"(\[0-9“])", text) if it.strip()]


def words(sentence):
    return [word for word in sentence.split() if re.search(r"\w", word)]


def complaints(name):
    for line, sentence in sentences(ROOT / name):
        count = len(words(sentence))
        if count > LONGEST:
            yield f"{name}:{line}: {count} words: {sentence}"
        for pattern, better in WORDS:
            if found := re.search(pattern, sentence):
                yield f"{name}:{line}: '{found[0][:40]}': {better}"


def main(names):
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = [it for name in names or sorted(set(listed) - NOT_READ) for it in complaints(name)]
    print("\n".join(found) if found else f"the words of {len(names or listed)} pages are fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
