"""What the scripts that write pages share: tables, and blocks between marks."""

import re


def table(head, rows):
    """Return Markdown, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(str(c) for c in row) + " |" for row in rows)])


def replace_block(page, name, text):
    """Write ``text`` between the marks of ``name`` in the file ``page``."""
    before = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)"
    found, count = re.subn(pattern, lambda m: m[1] + text + m[2], before, flags=re.DOTALL)
    assert count == 1, f"the page lacks the marks of {name}"
    page.write_text(found, encoding="utf-8")
    print(f"{name}\n{text}\n", flush=True)
