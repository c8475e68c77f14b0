"""`python -m specdm <verb>`."""

from specdm.cli import main

if __name__ == "__main__":
    main()
