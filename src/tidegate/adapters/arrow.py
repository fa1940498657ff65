"""Apache Arrow as a type checker sees it: unknown. One place admits it, so that no other has to."""

import importlib
from typing import Any, Final, TypeAlias


pa: Final[Any] = importlib.import_module("pyarrow")
pc: Final[Any] = importlib.import_module("pyarrow.compute")
csv: Final[Any] = importlib.import_module("pyarrow.csv")
pq: Final[Any] = importlib.import_module("pyarrow.parquet")

Table: TypeAlias = Any  # a pyarrow.Table
Column: TypeAlias = Any  # a pyarrow.ChunkedArray
