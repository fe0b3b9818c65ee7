"""``python -m msedge`` is ``msedge``."""

from msedge.cli.app import main

if __name__ == "__main__":
    main()
