import sys

if sys.argv[1:] == ["check"]:       # starts even where the command line's own packages are missing
    from leaplm.cli import any_console
    from leaplm.cli.check import main

    any_console()
    sys.exit(main())

from leaplm.cli.app import app

app()
