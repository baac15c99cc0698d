"""Files that are no table yet, made one: a reader is one file here and one line below.

A reader `NAME.py` has `read(files: list[Path], options: dict[str, Any]) -> pl.DataFrame`. It gets
the source's files in the recipe's order and the recipe's `options`, which it checks: a UserError
that begins with `options.` is shown with the field's full name. It opens no connection and starts
no process, and gives the same rows in the same order for the same files and options.
"""

READERS: tuple[str, ...] = (
    "chorales",
    "compressed_csv",
    "messages",
    "nafld",
    "spoken_digits",
    "tweets",
)
