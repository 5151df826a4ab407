"""`python -m edgecompress`: the command line, where its script is not on the path."""

from edgecompress.cli import main

if __name__ == "__main__":
    main()
