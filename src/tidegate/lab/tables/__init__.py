"""The door for books: a table of positions or of loans, or a recording, becomes an opening."""

from tidegate.lab.tables.door import Book, read_book
from tidegate.lab.tables.given import Given, read_parameters, read_prices


__all__ = ["Book", "Given", "read_book", "read_parameters", "read_prices"]
