import sys

if sys.argv[1:] == ["check"]:       # starts even where the command line's own packages are missing
    from leaplm.cli.check import main
    from leaplm.runtime import print_every_letter

    print_every_letter()
    sys.exit(main())

from leaplm.cli.app import app

app()
