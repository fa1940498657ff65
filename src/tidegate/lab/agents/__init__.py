"""Who acts in a path: populations as columns, and adversaries who count every cent of theirs."""
