"""Facts of images as SQL, whichever table has them."""

from __future__ import annotations

from .tables import quoted

OF_CONTENTS = ("path", "sha256", "bytes", "mtime_ns")
"""Facts that imgsim_contents has of the pictures in a table of the user's own."""


def fact_sql(there: dict[str, str], name: str) -> str:
    """A fact, where the table is called t and imgsim_contents c; null if nothing has it.

    `there` has the names of the columns of the table by these names in lower case. Text comes as
    bytes, since it need not be UTF-8. A BLOB may be a picture and is not read.
    """
    value = f"t.{quoted(there[name])}" if name in there else "null"
    if name in OF_CONTENTS:
        value = f"coalesce(c.{name}, {value})"
    return (
        f"case typeof({value}) when 'text' then cast({value} as blob) "
        f"when 'blob' then null else {value} end"
    )
