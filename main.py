"""The paper's command line; the work is in the package."""

from msedge.cli.paper import main

if __name__ == "__main__":
    main()
