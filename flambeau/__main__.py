"""`python -m flambeau`, as `torchrun -m flambeau` starts it: the command line."""

from flambeau.cli.main import main

if __name__ == "__main__":
    main()
