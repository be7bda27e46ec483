"""What each command of the command line does; ``cli.py`` only reads its options."""

NOT_WELL = 3
"""Exit code of what was done, while not everything is well (see ``cli.py``)."""
