"""`python -m nbbench`."""

from nbbench.cli import main

main()
