"""`python -m tidegate.cli`: the command line where no script is installed."""

from tidegate.cli.main import main


main()
