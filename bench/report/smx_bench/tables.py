# SPDX-License-Identifier: Apache-2.0
"""Tables of the page."""

import html


def esc(text):
    return html.escape(str(text), quote=True)


def table(head, rows, left=1):
    """head: column titles; rows: lists of cells, a cell is text or (text, css class)."""

    def cell(tag, at, value):
        text, kind = value if isinstance(value, tuple) else (value, "")
        kind = " ".join(k for k in (kind, "left" if 0 < at < left else "") if k)
        return f"<{tag}{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{esc(text)}</{tag}>"

    lines = [
        '<div class="scroll"><table><thead><tr>',
        *(cell("th", i, h) for i, h in enumerate(head)),
        "</tr></thead><tbody>",
    ]
    for row in rows:
        lines += ["<tr>", *(cell("td", i, c) for i, c in enumerate(row)), "</tr>"]
    return "".join(lines) + "</tbody></table></div>"
